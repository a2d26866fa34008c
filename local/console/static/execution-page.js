// One execution: the graph with live states, what went in and came out of each, its map runs and all events.

import { badge, fill, html, moment, nameOf, pretty, span, table, to } from "/static/dom.js";
import { MachineGraph } from "/static/graph.js";
import { counts } from "/static/map-run-page.js";
import { Run } from "/static/run.js";

const ENDED_EVERY = 10_000;
const SHOWN = 500; // events in the table at first

const since = (from, until) => span((until ?? Date.now() / 1000) - from);

export const executionPage = ({ place, read, arn }) => {
  const head = html("div");
  const frame = html("div", { class: "card graph-card" });
  const panel = html("section", { class: "card panel", "aria-live": "off" });
  const runs = html("div");
  const rows = html("tbody");
  const older = html("p");
  const events = html("section", { class: "card" }, html("h2", {}, "Events"), older,
    html("div", { class: "wide" }, html("table", { "aria-label": "Events", class: "events" }, html("thead", {}, html("tr", {},
      ["Number", "Type", "State", "Time", "After the start", "Details"].map((name) => html("th", { scope: "col" }, name)))), rows)));
  place.append(head, html("div", { class: "split" }, frame, panel), runs, events);

  const run = new Run();
  const texts = new Map(); // inputs and outputs by event; an event never changes
  let graph, execution, mapRuns = [], chosen, drawn = "", readAt = 0, follows = true;

  const follow = html("input", { type: "checkbox", checked: true, onchange: () => { follows = follow.checked; look(); } });

  const choose = (name) => {
    chosen = chosen === name ? undefined : name;
    drawn = "";
    drawStates();
  };

  const look = () => {
    const running = run.all.findLast((visit) => visit.status === "RUNNING" || visit.status === "RETRYING");
    if (follows && running) graph?.follow(running.name);
  };

  const whole = async (id) => {
    if (!id) return undefined;
    if (!texts.has(id)) texts.set(id, (await read("event", { arn, number: id })).details ?? {});
    return texts.get(id);
  };

  const drawHead = () => {
    fill(head, html("div", { class: "heading" }, html("h1", {}, execution.name), badge(execution.status)),
      html("div", { class: "figures" },
        html("span", {}, html("b", {}, since(execution.startDate, execution.stopDate)), execution.stopDate ? " in all" : " so far"),
        html("span", {}, "started ", html("b", {}, moment(execution.startDate))),
        execution.redriveCount > 0 && html("span", {}, "redriven ", html("b", {}, `${execution.redriveCount} times`)),
        execution.mapRunArn && html("a", { href: to("map-run", execution.mapRunArn) }, "Its map run")),
      execution.error !== undefined && html("p", { class: "bad" }, `${execution.error}: ${execution.cause ?? ""}`));
  };

  const drawStates = () => {
    const notes = new Map();
    for (const visit of run.all) {
      const found = mapRuns.find((one) => one.mapRunArn === visit.mapRun);
      if (found) notes.set(visit.name, `${found.itemCounts.succeeded} of ${found.itemCounts.total} items`);
      else if (visit.iterations) notes.set(visit.name, visit.iterations === 1 ? "1 iteration" : `${visit.iterations} iterations`);
    }
    graph?.show(run, notes, chosen);
    return drawPanel();
  };

  const part = (title, text) => text !== undefined && html("div", {}, html("h3", {}, title), pretty(text));

  const drawPanel = async () => {
    const visits = chosen === undefined ? [] : run.visits(chosen);
    const visit = visits.at(-1);
    const key = JSON.stringify([chosen, visits.length, visit?.status, visit?.attempts, visit?.errors.length, execution.status]);
    if (key === drawn) {
      const took = panel.querySelector("#took");
      if (took && visit) took.textContent = since(visit.entered, visit.exited);
      return;
    }
    drawn = key;
    if (chosen === undefined) {
      fill(panel, html("h2", {}, "Execution"), html("p", {}, "Choose a state of the graph to see what went in and came out."),
        part("Input", execution.input), part("Output", execution.output));
      return;
    }
    const definition = graph?.definitions.get(chosen);
    let entered, exited;
    try {
      [entered, exited] = await Promise.all([whole(visit?.enteredId), whole(visit?.exitedId)]);
    } catch (error) {
      if (drawn === key) drawn = "";
      throw error;
    }
    if (drawn !== key) return;
    const open = panel.querySelector("details")?.open;
    fill(panel, html("h2", {}, chosen), definition?.Comment && html("p", {}, definition.Comment),
      visit ? html("div", { class: "figures" }, badge(visit.status),
        html("span", {}, html("b", { id: "took" }, since(visit.entered, visit.exited)), " "),
        html("span", {}, "entered ", html("b", {}, moment(visit.entered))),
        visits.length > 1 && html("span", {}, html("b", {}, `${visits.length} visits`), ", this is the latest"),
        visit.attempts > 1 && html("span", {}, html("b", {}, `${visit.attempts - 1}`), visit.attempts === 2 ? " retry" : " retries"))
        : html("p", {}, "Not entered so far."),
      visit?.mapRun && html("p", {}, html("a", { href: to("map-run", visit.mapRun) }, "Map run with its child executions")),
      ...(visit?.errors ?? []).map(({ time, error, cause }) => html("div", { class: "fault" }, html("b", {}, error), ` ${moment(time)}`, cause && pretty(cause))),
      part("Input", entered?.input), part("Output", exited?.output),
      definition && html("details", { open }, html("summary", {}, "Definition"), pretty(JSON.stringify(definition))));
  };

  const drawRuns = () => {
    fill(runs, mapRuns.length ? html("section", { class: "card" }, html("h2", {}, "Map runs"),
      table("Map runs", ["Map run", "Status", "Items", "Executions", "Took"], mapRuns.map((one) => [
        html("a", { href: to("map-run", one.mapRunArn) }, one.mapRunArn.split("/").at(-1).split(":")[0]), badge(one.status),
        counts(one.itemCounts), counts(one.executionCounts), since(one.startDate, one.stopDate)]))) : []);
  };

  const addRows = (added) => {
    rows.prepend(...added.slice(-SHOWN).reverse().map((event) => {
      const state = run.visitOf(event.id)?.name;
      const details = html("details", {
        ontoggle: async () => {
          if (!details.open || details.children.length > 1) return;
          details.append(pretty(JSON.stringify(await whole(event.id))));
        },
      }, html("summary", { "aria-label": `Details of event ${event.id}` }, event.details.error ?? "…"));
      return html("tr", { class: /Failed|TimedOut|Aborted/.test(event.type) && "bad" }, html("td", {}, String(event.id)),
        html("td", {}, event.type), html("td", {}, state ? html("button", { class: "plain", onclick: () => choose(state) }, state) : ""), html("td", {}, moment(event.time)),
        html("td", {}, span(event.time - execution.startDate)), html("td", {}, details));
    }));
    const hidden = run.last - rows.children.length;
    fill(older, hidden > 0 ? `The newest event is first. ${hidden} older ones are not listed.` : "The newest event is first.");
  };

  const begin = async () => {
    const [dagre, { definition }] = await Promise.all([
      import("/static/dagre.esm.js").catch(() => undefined), read("definition", { arn }),
    ]);
    if (dagre) {
      graph = new MachineGraph(dagre, JSON.parse(definition), choose);
      const zoom = (label, sign, factor) => html("button", { "aria-label": label, onclick: () => graph.zoom(factor) }, sign);
      fill(frame, html("div", { class: "tools" }, html("label", {}, follow, " Follow the running state"),
        zoom("Smaller", "−", 0.8), zoom("Larger", "+", 1.25), zoom("Fit the width", "Fit")), graph.node);
      graph.zoom();
      graph.follow(JSON.parse(definition).StartAt);
    } else fill(frame, html("p", {}, "The graph needs a library: run make setup-portal, and load this page again."));
  };

  return {
    title: nameOf(arn),
    refresh: async () => {
      if (execution && execution.status !== "RUNNING" && Date.now() - readAt < ENDED_EVERY) return;
      if (!graph && !frame.firstChild) await begin();
      const found = await read("execution", { arn, number: run.last });
      ({ execution, mapRuns } = found);
      readAt = Date.now();
      run.add(found.events);
      drawHead();
      drawStates();
      drawRuns();
      if (found.events.length) {
        addRows(found.events);
        look();
      }
    },
  };
};
