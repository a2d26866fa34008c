// The list of a job's frames or strips, to go to any of them.
import { element, openDialog } from "./panel.js";
import { listFrames, visit } from "./tasks.js";

const STATES = { all: "All", open: "Open", sent: "Sent", unsure: "Unsure" };
// Rows on the page: of a longer list, those around the frame that is shown.
const ROWS = 400;

/** Open the list; `current`: the address of the one that is shown; `unit`: the word for one. */
export async function openFrames(current, unit = "frame") {
  const frames = await listFrames();
  const at = frames?.findIndex(({ url }) => url === current) ?? -1;
  const list = element("ol", "portal-frames");
  const choice = element("p", "portal-choice");
  const dialog = openDialog(unit === "frame" ? "Frames of this job" : "Strips of this job", frames ? [choice, list] : ["The portal does not answer. Try again."]);
  if (!frames) return;

  const row = ({ url, name, state, number }) => {
    const button = element("button", `portal-frame portal-${state}`);
    button.type = "button";
    button.disabled = state === "taken";
    button.ariaCurrent = url === current ? "page" : "false";
    button.append(element("b", "", String(number + 1)), element("span", "", name), element("em", "", state === "taken" ? "another reviewer" : state));
    button.addEventListener("click", () => {
      dialog.close();
      if (url !== current) visit(url);
    });
    const item = document.createElement("li");
    item.append(button);
    return item;
  };

  function show(wanted) {
    const rows = frames.map((frame, number) => ({ ...frame, number })).filter(({ state }) => wanted === "all" || state === wanted);
    const middle = rows.findIndex(({ number }) => number >= at);
    const from = Math.max(0, Math.min(middle < 0 ? rows.length : middle, rows.length - ROWS / 2) - ROWS / 2);
    list.replaceChildren(...rows.slice(from, from + ROWS).map(row));
    for (const button of choice.children) button.ariaPressed = String(button.value === wanted);
    const shown = list.querySelector('[aria-current="page"]') ?? list.querySelector("button:enabled");
    shown?.scrollIntoView({ block: "center" });
    shown?.focus();
  }

  for (const [value, text] of Object.entries(STATES)) {
    const count = value === "all" ? frames.length : frames.filter(({ state }) => state === value).length;
    const button = Object.assign(element("button", "", `${text} ${count}`), { type: "button", value });
    button.addEventListener("click", () => show(value));
    choice.append(button);
  }
  show("all");
}
