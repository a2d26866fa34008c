// Go from task to task: send drafts and answers, fetch the next page ahead, show it without a page load.

import { BEYOND, afterEarlier, notice, post, saveDraft, saved } from "./sending.js";

let ahead = null;
let unsent = 0;
const images = new Map();
const contexts = new Map();

const address = () => location.pathname.replace(/\/$/u, "");
// While the browser goes back in its history, its address is that of a frame that is not shown yet.
let shown = address();

/** Return the address of the task that is shown. */
export const here = () => shown;
const job = (url) => url.replace(/\/tasks\/[^/]*$/u, "/");

async function fetchContext(url) {
  const response = await fetch(`${url}/context`, { headers: { accept: "application/json" } });
  if (!response.ok) throw new Error(`${url}/context: ${response.status}`);
  return response.json();
}

/** Return the server's context of the task that is shown; null when it does not answer. */
export function contextHere() {
  const url = here();
  if (!contexts.has(url)) contexts.set(url, fetchContext(url).catch(() => null));
  return contexts.get(url);
}

/** Return an image, the one that was fetched ahead if there is one. */
export function pictureOf(src) {
  const image = images.get(src) ?? Object.assign(new Image(), { src });
  images.delete(src);
  return image;
}

async function load(url) {
  // A frame that was just sent is shown as it was sent.
  await saved.get(url)?.catch(() => null);
  const response = await fetch(url, { headers: { accept: "text/html" } });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const src = page.querySelector("crowd-bounding-box, crowd-semantic-segmentation")?.getAttribute("src");
  if (!src) throw new Error(`${url} is not a task`);
  const image = Object.assign(new Image(), { src });
  // The element that shows a broken image reports it.
  await image.decode().catch(() => null);
  return { url, page, src, image };
}

/** Replace the scripts of a parsed page by new ones: only these run, once they are in the shown document. */
function revive(scripts) {
  for (const script of scripts) {
    const live = document.createElement("script");
    for (const { name, value } of script.attributes) live.setAttribute(name, value);
    live.textContent = script.textContent;
    script.replaceWith(live);
  }
}

/** Show a loaded task; `context`: a promise of its context; `push`: make an entry in the browser's history. */
function show({ url, page, src, image }, context, push = true) {
  if (push) history.pushState({ depth: (history.state?.depth ?? 0) + 1 }, "", url);
  shown = url;
  contexts.clear();
  contexts.set(url, context.catch(() => null));
  images.clear();
  images.set(src, image);
  document.title = page.title;
  page.body.append(...page.head.querySelectorAll("script:not([src])"));
  // Scripts with an address are already loaded.
  for (const script of page.body.querySelectorAll("script[src]")) script.remove();
  document.body.replaceChildren(...page.body.childNodes);
  revive(document.body.querySelectorAll("script"));
}

/** Fetch the next task while this one is reviewed; a failure only makes the next task load later. */
export async function prepareNext() {
  const url = here();
  ahead = null;
  const context = await contextHere();
  if (!context?.next || context.next === url || here() !== url) return;
  const next = context.next;
  ahead = { url: next, page: null };
  const page = await load(next).catch(() => null);
  if (ahead?.url !== next) return;
  ahead.page = page;
  if (page) performance.mark("autolabel:ready", { detail: next });
}

/** Show a task of this job, also one that was sent; a page load shows the reason if it cannot be shown. */
export async function visit(url) {
  await go(url, url);
}

/** Go back to the frame that was shown before this one; return false if there is none. */
export function goBack() {
  if (!history.state?.depth) return false;
  history.back();
  return true;
}

/** Return the job's frames: url, name, state (open, sent, unsure, taken); null when the portal does not answer. */
export async function listFrames() {
  const response = await fetch(`${job(here())}frames`).catch(() => BEYOND);
  return response.ok ? (await response.json()).frames : null;
}

async function failed(url, error, draft) {
  if (error.status === 409) {
    notice("Another reviewer answered this frame first. That answer counts.", { passing: true });
    return;
  }
  if (draft) await saveDraft(url, draft);
  const told = error.message.replace(/\.$/u, "");
  if (here() === url) notice(`The answer to this frame was not saved: ${told}. Your work is still here.`);
  else notice(`The answer to a frame was not saved: ${told}.`, { link: url });
}

/** Send this task's answer, and show the next task at once if it is ready. Resolves to false if nothing was sent. */
export async function send(answerContent, draft) {
  const url = here();
  performance.mark("autolabel:sent", { detail: url });
  // What was said of this frame's last attempt no longer holds.
  for (const bar of document.querySelectorAll(".portal-notice:not(:has(a))")) bar.remove();
  const ready = ahead?.page && ahead.page.url !== url ? ahead.page : null;
  ahead = null;
  unsent += 1;
  const posted = afterEarlier(url, () => post(url, { answerContent })).finally(() => (unsent -= 1));
  if (ready) {
    const settled = posted.catch((error) => failed(url, error, draft));
    // The next task is an open one, so it can be shown before its context is there.
    show(ready, settled.then(() => fetchContext(ready.url)));
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

/** Load a task and its context, and show it; return false if that fails. A task that was sent starts from its answer. */
async function open(url, push = true) {
  try {
    const page = await load(url);
    const context = await fetchContext(url);
    // The reviewer may have gone elsewhere in the meantime.
    if (!push && address() !== url) return true;
    show(page, Promise.resolve(context), push);
  } catch {
    return false;
  }
  await prepareNext();
  return true;
}

async function go(next, overview) {
  if (!next || !(await open(next))) location.assign(next ?? overview);
}

addEventListener("popstate", async () => {
  if (!(await open(address(), false))) location.reload();
});

addEventListener("beforeunload", (event) => {
  if (unsent) event.preventDefault();
});
