// Send drafts and answers of tasks, and tell the reviewer what became of them.

const RETRIES_MS = [500, 1000, 2000, 4000, 8000];
export const BEYOND = { status: 0 };

// The last request with work of each task, by its address: the next one waits for it, so that the last work counts.
export const saved = new Map();

/** Run a request with work of a task after the earlier ones. */
export function afterEarlier(url, request) {
  const mine = (saved.get(url) ?? Promise.resolve()).then(request, request);
  saved.set(url, mine);
  const forget = () => saved.get(url) === mine && saved.delete(url);
  mine.then(forget, forget);
  return mine;
}

export function saveDraft(url, draft, leaving = false) {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify(draft);
  // After a page is left, browsers continue at most 64 KiB of its requests.
  const request = () =>
    fetch(`${url}/draft`, { method: "PUT", headers, body, keepalive: leaving && body.length < 60_000 }).catch(() => BEYOND);
  return leaving ? request() : afterEarlier(url, request);
}

/** Send an answer until the portal takes it; returns its response. */
export async function post(url, answer) {
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

/** Show a line above the page; `passing`: it goes away by itself. */
export function notice(text, { link = null, passing = false } = {}) {
  const bar = document.createElement("div");
  bar.className = "portal-notice";
  bar.setAttribute("role", "alert");
  bar.append(text);
  if (link) bar.append(" ", Object.assign(document.createElement("a"), { href: link, textContent: "Go back to the frame" }));
  const close = Object.assign(document.createElement("button"), { textContent: "×", ariaLabel: "Close" });
  close.onclick = () => bar.remove();
  bar.append(close);
  // Outside the body, which the next task replaces.
  document.documentElement.append(bar);
  if (passing) setTimeout(() => bar.remove(), 8000);
}
