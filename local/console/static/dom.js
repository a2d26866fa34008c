// Elements of the page. Texts go in as text and never as markup, since names and documents of others are shown.

const make = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== undefined && child !== false));
  return node;
};

export const html = (name, attributes = {}, ...children) => make(document.createElement(name), attributes, children);
export const svg = (name, attributes = {}, ...children) =>
  make(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

/** Replaces what a node contains, and keeps the focus at the element with the same link or id. */
export const fill = (node, ...children) => {
  const focused = node.contains(document.activeElement) ? document.activeElement : undefined;
  node.replaceChildren(...children.flat().filter((child) => child !== undefined && child !== false));
  const key = focused?.getAttribute("href") ? `[href="${CSS.escape(focused.getAttribute("href"))}"]` : focused?.id && `#${CSS.escape(focused.id)}`;
  if (key) node.querySelector(key)?.focus({ preventScroll: true });
};

/** A table of rows, each a list of cells: texts, nodes, or lists of both. */
export const table = (label, heads, rows, empty) =>
  rows.length
    ? html("div", { class: "wide" }, html("table", { "aria-label": label },
        html("thead", {}, html("tr", {}, heads.map((head) => html("th", { scope: "col" }, head)))),
        html("tbody", {}, rows.map((cells) => html("tr", {}, cells.map((cell) => html("td", {}, ...[cell].flat())))))))
    : html("p", {}, empty);

const WORDS = { TIMED_OUT: "timed out", INSUFFICIENT_DATA: "no data", CAUGHT: "caught error", RETRYING: "waits for a retry" };

/** A status in its colour, in words. */
export const badge = (status) =>
  html("span", { class: `badge ${status}` }, WORDS[status] ?? status.toLowerCase().replaceAll("_", " "));

/** A text that is not broken into lines. */
const together = (text) => text.replace(/\s/g, "\u00a0");

/** A moment in seconds since the epoch, in the browser's time zone. */
export const moment = (seconds) =>
  seconds === undefined || seconds === null ? "–" : together(new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" }));

/** A length of time in seconds, as people say it. */
export const span = (seconds) => (seconds === undefined || seconds === null ? "–" : together(inWords(seconds)));

const inWords = (seconds) => {
  if (seconds < 1) return `${Math.round(Math.max(seconds, 0) * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  return minutes < 2880 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${Math.floor(minutes / 1440)} days`;
};

/** A text that may be JSON, as readable as possible. */
export const pretty = (text) => {
  let shown = text;
  try {
    shown = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    // Not JSON: shown as it is.
  }
  return html("pre", { tabindex: 0 }, shown);
};

/** The last part of an ARN. */
export const nameOf = (arn) => arn.split(":").at(-1);

export const to = (page, arn) => `#/${page}/${encodeURIComponent(arn)}`;
