// The side panel: progress, boxes by uncertainty, candidates, classes with their digits, settings.
import { keyName, keyOf, keyRows } from "./keys.js";

const LAYOUT = `
  <header>
    <div class="portal-progress" role="progressbar" aria-label="Frames done" aria-valuemin="0"><i></i></div>
    <p class="portal-count"></p>
    <div class="portal-place"></div>
    <p class="portal-why"></p>
  </header>
  <section class="portal-list" aria-label="Boxes">
    <ol class="portal-boxes"></ol>
    <h2 class="portal-candidates-title">Candidates</h2>
    <ol class="portal-candidates"></ol>
  </section>
  <section class="portal-classes" aria-label="Classes"><ol></ol></section>
  <section class="portal-sliders"></section>
  <footer>
    <button type="button" data-do="frames">Frames <kbd></kbd></button>
    <button type="button" data-do="help">Keys <kbd>?</kbd></button>
    <button type="button" data-do="instructions">Instructions</button>
    <button type="button" data-do="settings">Settings <kbd></kbd></button>
    <button type="button" data-do="unsure">Unsure <kbd></kbd></button>
    <button type="button" data-do="send" class="portal-send">Send <kbd>Enter</kbd></button>
  </footer>`;

// Name, text, least and most value, step, explanation.
const SLIDERS = [
  ["level", "Candidates ≥", 0, 1, 0.05, "Candidates with this share of the confidence that a box needs"],
  ["least", "Uncertainty ≥", 0, 1, 0.05, "Boxes of the models with this uncertainty"],
  ["opacity", "Opacity", 0.1, 1, 0.1],
  ["gamma", "Brightness", 0.4, 3, 0.1],
];

export const element = (tag, className, text = "") => Object.assign(document.createElement(tag), { className, textContent: text });

/** Return the digit key of a class: 1 to 9, then 0. */
export const digitOf = (index) => (index < 10 ? String((index + 1) % 10) : "");

/** Events: `do` (detail: a command's name), `pick` (an id), `class` (an index), `filter` (a label), `slide` (name, value). */
export class Panel extends EventTarget {
  /** `place`: the template's element that says where and when the frame was taken; `sliders`: their values by name. */
  constructor({ labels, colorOf, place, sliders }) {
    super();
    this.colorOf = colorOf;
    this.labels = labels;
    this.root = element("aside", "portal-panel");
    this.root.setAttribute("aria-label", "Review");
    this.root.innerHTML = LAYOUT;
    this.#classes();
    if (place) this.#find(".portal-place").append(place);
    for (const [name, text, min, max, step, title = ""] of SLIDERS) this.#slider(name, text, { min, max, step, title }, sliders[name]);
    this.root.addEventListener("click", ({ target }) => {
      const action = target.closest("[data-do]")?.dataset.do;
      const id = target.closest("[data-id]")?.dataset.id;
      const index = target.closest("[data-class]")?.dataset.class;
      const label = target.closest("[data-filter]")?.dataset.filter;
      if (label !== undefined) this.#emit("filter", label);
      else if (action) this.#emit("do", action);
      else if (id) this.#emit("pick", id);
      else if (index) this.#emit("class", Number(index));
    });
    // A click leaves the focus on the image, where the keys work; F6 and Tab move it to the panel.
    this.root.addEventListener("mousedown", (event) => event.target.closest("input, textarea") || event.preventDefault());
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #find(selector) {
    return this.root.querySelector(selector);
  }

  #classes() {
    this.#find(".portal-classes ol").append(
      ...this.labels.map((label, i) => {
        const item = element("button", "portal-class");
        item.type = "button";
        item.dataset.class = i;
        item.style.setProperty("--class", this.colorOf(label));
        item.append(element("kbd", "", digitOf(i)), element("span", "", label));
        const filter = element("button", "portal-eye");
        filter.type = "button";
        filter.dataset.filter = label;
        filter.style.setProperty("--class", this.colorOf(label));
        const row = document.createElement("li");
        row.append(filter, item);
        return row;
      }),
    );
  }

  #slider(name, text, range, value) {
    const label = element("label", "", text);
    const input = Object.assign(element("input", `portal-${name}`), { type: "range", ...range });
    label.append(input, document.createElement("output"));
    this.#find(".portal-sliders").append(label);
    this.set(name, value);
    input.addEventListener("input", () => this.#emit("slide", { name, value: Number(input.value) }));
    input.addEventListener("pointerup", () => input.blur());
  }

  set(name, value) {
    const input = this.#find(`.portal-${name}`);
    input.value = value;
    input.nextElementSibling.value = input.max === "1" ? `${Math.round(100 * value)}%` : value.toFixed(1);
  }

  /** `sent`: whether the frame on the page is one of those that are done. */
  progress({ done, total, sent, seconds }) {
    const bar = this.#find(".portal-progress");
    bar.setAttribute("aria-valuemax", total);
    bar.setAttribute("aria-valuenow", done);
    bar.firstElementChild.style.width = `${(100 * done) / Math.max(total, 1)}%`;
    const pace = element("span", "portal-pace", seconds === null || sent ? "" : `${seconds.toFixed(1)} s per frame`);
    const count = sent ? `Sent before · ${done} of ${total} done` : `Frame ${Math.min(done + 1, total)} of ${total}`;
    this.#find(".portal-count").replaceChildren(count, pace);
  }

  uncertainty(level, why) {
    const reasons = why.length ? `: ${why.join(", ")}` : "";
    this.#find(".portal-why").textContent = level === undefined ? "" : `Uncertainty ${Math.round(level * 100)} %${reasons}`;
  }

  /** `hidden`: the numbers of boxes and candidates that filters hide; `hides`: tells it of a class. */
  update({ boxes, candidates, hidden, selected, label, locked, hides }) {
    const rows = (items) => items.map((item) => this.#row(item, selected, locked));
    const more = hidden.boxes ? [element("li", "portal-hidden", `${hidden.boxes} hidden by filters, and still sent`)] : [];
    this.#find(".portal-boxes").replaceChildren(...rows(boxes), ...more);
    this.#find(".portal-candidates").replaceChildren(...rows(candidates));
    const title = this.#find(".portal-candidates-title");
    title.hidden = candidates.length + hidden.candidates === 0;
    title.textContent = `Candidates${hidden.candidates ? ` · ${hidden.candidates} hidden` : ""}`;
    if (candidates.length) title.append(element("span", "", ` ${keyName(keyOf("promote"))} adds one`));
    for (const item of this.root.querySelectorAll("[data-class]")) {
      item.setAttribute("aria-pressed", String(this.labels[item.dataset.class] === label));
    }
    for (const item of this.root.querySelectorAll("[data-filter]")) {
      const hiding = hides(item.dataset.filter);
      item.setAttribute("aria-pressed", String(hiding));
      item.title = item.ariaLabel = `${hiding ? "Show" : "Hide"} ${item.dataset.filter}`;
    }
    for (const key of this.root.querySelectorAll("[data-do] kbd")) {
      const name = key.parentElement.dataset.do;
      if (["frames", "settings", "unsure"].includes(name)) key.textContent = keyName(keyOf(name));
    }
    this.#find('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
  }

  #row(item, selected, locked) {
    const row = document.createElement("li");
    const button = element("button", "portal-row");
    button.type = "button";
    button.dataset.id = item.id;
    button.style.setProperty("--class", this.colorOf(item.label));
    const candidate = item.reviewed === undefined;
    const level = candidate ? item.confidence : item.uncertainty;
    const flags = [locked.has(item.id) && "locked", item.isNew && "new", item.proposed && "drawn nearby", item.occluded && "occl", item.truncated && "trunc"].filter(Boolean).join(" ");
    const bar = element("i", candidate ? "portal-bar confidence" : "portal-bar");
    bar.style.setProperty("--level", level ?? 0);
    bar.hidden = level === undefined;
    const told = level === undefined ? "" : `${candidate ? "confidence" : "uncertainty"} ${Math.round(level * 100)} %`;
    bar.title = told;
    const state = candidate ? (item.isNew ? "new candidate" : item.proposed ? "candidate, drawn nearby" : "candidate") : item.reviewed ? "reviewed" : "not reviewed";
    button.setAttribute("aria-label", [item.label, state, told, locked.has(item.id) && "locked", item.occluded && "occluded", item.truncated && "truncated"].filter(Boolean).join(", "));
    button.setAttribute("aria-current", String(item.id === selected));
    button.append(element("b", ""), element("span", "", item.label), element("em", "", flags), bar, element("u", "", item.reviewed ? "✓" : ""));
    row.append(button);
    return row;
  }
}

/** Open a dialog, which handles its own keys; `content`: nodes. */
export function openDialog(title, content, { onClose } = {}) {
  const dialog = element("dialog", "portal-dialog");
  dialog.setAttribute("aria-label", title);
  const close = element("button", "portal-close", "×");
  close.type = "button";
  close.ariaLabel = "Close";
  close.onclick = () => dialog.close();
  dialog.append(close, element("h1", "", title), ...content);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => {
    dialog.remove();
    onClose?.();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

export function keyTable(rows = keyRows()) {
  const table = element("table", "portal-keys");
  for (const [keys, does] of rows) {
    const row = table.insertRow();
    row.append(element("th", "", keys), element("td", "", does));
  }
  return table;
}

/** Ask why the reviewer is unsure of a frame or strip; calls `send` with the comment, which may be empty. */
export function askWhy(unit, send, onClose) {
  const text = element("textarea", "portal-comment");
  text.maxLength = 500;
  text.placeholder = "What is unclear? (optional)";
  text.setAttribute("aria-label", "Comment");
  const button = element("button", "portal-send", "Send for a second review ⏎");
  button.type = "button";
  const done = () => {
    dialog.close();
    send(text.value.trim());
  };
  button.onclick = done;
  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    done();
  });
  const dialog = openDialog(`Unsure about this ${unit}`, [text, button], { onClose });
  text.focus();
}
