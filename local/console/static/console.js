// The way between the pages, and their reading again and again while they are seen.

import { alarmsPage } from "/static/alarms-page.js";
import { chartsPage } from "/static/charts-page.js";
import { fill } from "/static/dom.js";
import { executionPage } from "/static/execution-page.js";
import { executionsPage } from "/static/executions-page.js";
import { mapRunPage } from "/static/map-run-page.js";
import { queuesPage } from "/static/queues-page.js";

const EVERY = 1500;
const PAGES = { "": executionsPage, execution: executionPage, "map-run": mapRunPage, queues: queuesPage, alarms: alarmsPage, charts: chartsPage };

const main = document.querySelector("main");
const trouble = document.querySelector("#trouble");

/** Reads a document of the console; `values` become the query. Throws an error whose message is for people. */
const read = async (path, values = {}) => {
  const query = new URLSearchParams(values).toString();
  let response;
  try {
    response = await fetch(`/api/${path}${query && `?${query}`}`);
  } catch {
    throw new Error("The console does not answer. Has the cloud ended?");
  }
  const document = await response.json();
  if (!response.ok) throw new Error(document.error);
  return document;
};

let shown = 0; // counts the pages, so that what a former one has read is dropped

const show = () => {
  const [, name = "", arn = ""] = location.hash.split("/");
  const page = PAGES[name] ?? executionsPage;
  const number = ++shown;
  for (const link of document.querySelectorAll("nav a")) {
    const current = link.hash === `#/${name}` || (link.hash === "#/" && ["execution", "map-run"].includes(name));
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const place = document.createElement("div");
  const { title, refresh, every = EVERY } = page({ place, read, arn: decodeURIComponent(arn) });
  document.title = `${title} · Console`;
  fill(main, place);
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
  const again = async () => {
    if (number !== shown) return;
    if (!document.hidden) {
      try {
        await refresh();
        if (number === shown && trouble.textContent) trouble.textContent = "";
      } catch (error) {
        if (number === shown && trouble.textContent !== error.message) trouble.textContent = error.message;
      }
    }
    setTimeout(again, every);
  };
  again();
};

addEventListener("hashchange", show);
show();
