// The way from task to task: drafts and answers to the server, the next page fetched ahead and shown without a load.

const RETRIES_MS = [500, 1000, 2000, 4000, 8000];
const BEYOND = { status: 0 };

let ahead = null;
let unsent = 0;
const images = new Map();
const contexts = new Map();

export const here = () => location.pathname.replace(/\/$/u, "");
const job = (url) => url.replace(/\/tasks\/[^/]*$/u, "/");

async function fetchContext(url) {
  const response = await fetch(`${url}/context`, { headers: { accept: "application/json" } });
  if (!response.ok) throw new Error(`${url}/context: ${response.status}`);
  return response.json();
}

/** What the server tells of the task that is shown; null when it tells nothing. */
export function contextHere() {
  const url = here();
  if (!contexts.has(url)) contexts.set(url, fetchContext(url).catch(() => null));
  return contexts.get(url);
}

/** An image, decoded; the one that was fetched ahead if there is one. */
export function pictureOf(src) {
  const image = images.get(src) ?? Object.assign(new Image(), { src });
  images.delete(src);
  return image;
}

async function load(url) {
  const response = await fetch(url, { headers: { accept: "text/html" } });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const src = page.querySelector("crowd-bounding-box, crowd-semantic-segmentation")?.getAttribute("src");
  if (!src) throw new Error(`${url} is no task`);
  const image = Object.assign(new Image(), { src });
  // A broken image is told by the element that shows it.
  await image.decode().catch(() => null);
  return { url, page, src, image };
}

/** Scripts of a parsed page do not run by themselves, and made anew only in the document that is shown. */
function revive(scripts) {
  for (const script of scripts) {
    const live = document.createElement("script");
    for (const { name, value } of script.attributes) live.setAttribute(name, value);
    live.textContent = script.textContent;
    script.replaceWith(live);
  }
}

/** `settled`: what has to be over before the server tells of this task: the answer to the one before. */
function show({ url, page, src, image }, settled = Promise.resolve(), push = true) {
  if (push) history.pushState(null, "", url);
  contexts.clear();
  contexts.set(url, settled.then(() => fetchContext(url)).catch(() => null));
  images.clear();
  images.set(src, image);
  document.title = page.title;
  page.body.append(...page.head.querySelectorAll("script:not([src])"));
  // What is loaded by address is here already.
  for (const script of page.body.querySelectorAll("script[src]")) script.remove();
  document.body.replaceChildren(...page.body.childNodes);
  revive(document.body.querySelectorAll("script"));
}

/** Fetch the next task while this one is looked at; without an answer of the server there is just no head start. */
export async function prepareNext() {
  const url = here();
  ahead = null;
  const context = await contextHere();
  if (!context?.next || context.next === url || here() !== url) return;
  const next = context.next;
  ahead = { url: next, page: null };
  const page = await load(next).catch(() => null);
  if (ahead?.url === next) ahead.page = page;
}

export function saveDraft(url, draft, leaving = false) {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify(draft);
  // A browser keeps at most 64 KiB going for a page that is left.
  return fetch(`${url}/draft`, { method: "PUT", headers, body, keepalive: leaving && body.length < 60_000 }).catch(() => BEYOND);
}

async function post(url, answer) {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify(answer);
  for (const pause of [...RETRIES_MS, null]) {
    const response = await fetch(`${url}/answer`, { method: "POST", headers, body }).catch(() => BEYOND);
    if (response.ok) return response.json();
    if (pause === null || (response.status > 0 && response.status < 500)) {
      const told = response.json ? await response.json().catch(() => ({})) : {};
      throw Object.assign(new Error(told.error ?? "the portal does not answer"), { status: response.status, next: told.next });
    }
    await new Promise((resume) => setTimeout(resume, pause));
  }
  return undefined;
}

function notice(text, link) {
  const bar = document.createElement("div");
  bar.className = "portal-notice";
  bar.setAttribute("role", "alert");
  bar.append(text);
  if (link) bar.append(" ", Object.assign(document.createElement("a"), { href: link, textContent: "Go back to it" }));
  const close = Object.assign(document.createElement("button"), { textContent: "×", ariaLabel: "Close" });
  close.onclick = () => bar.remove();
  bar.append(close);
  // Beside the body, which the next task replaces.
  document.documentElement.append(bar);
  if (!link) setTimeout(() => bar.remove(), 8000);
}

async function failed(url, error, draft) {
  if (error.status === 409) {
    notice("Somebody else answered this frame first; that answer counts.");
    return;
  }
  if (draft) await saveDraft(url, draft);
  notice(`A frame was not taken: ${error.message}.`, url);
}

/** Send this task's answer and show the next task at once when it lies ready. Resolves to false if nothing was sent. */
export async function send(answerContent, draft) {
  const url = here();
  performance.mark("autolabel:sent", { detail: url });
  const ready = ahead?.page && ahead.page.url !== url ? ahead.page : null;
  ahead = null;
  unsent += 1;
  const posted = post(url, { answerContent }).finally(() => (unsent -= 1));
  if (ready) {
    const settled = posted.catch((error) => failed(url, error, draft));
    show(ready, settled);
    await settled;
    if (here() === ready.url) await prepareNext();
    return true;
  }
  try {
    const { next } = await posted;
    await go(next ?? null, job(url));
  } catch (error) {
    await failed(url, error, draft);
    if (error.status !== 409) return false;
    await go(error.next ?? null, job(url));
  }
  return true;
}

async function go(next, overview) {
  const page = next && (await load(next).catch(() => null));
  if (!page) {
    location.assign(next ?? overview);
    return;
  }
  show(page);
  await prepareNext();
}

addEventListener("popstate", async () => {
  const page = await load(here()).catch(() => null);
  if (!page) {
    location.reload();
    return;
  }
  show(page, Promise.resolve(), false);
  await prepareNext();
});

addEventListener("beforeunload", (event) => {
  if (unsent) event.preventDefault();
});
