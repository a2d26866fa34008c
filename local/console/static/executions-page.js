// All state machines with their newest executions.

import { badge, fill, html, moment, span, table, to } from "/static/dom.js";

export const executionsPage = ({ place, read }) => {
  const filter = html("input", { type: "search", placeholder: "Filter by name", "aria-label": "Filter by name", oninput: () => draw() });
  const status = html("select", { "aria-label": "Status", onchange: () => draw() },
    ["All", "RUNNING", "SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT"].map((name) =>
      html("option", { value: name }, name === "All" ? "Any status" : name.toLowerCase().replace("_", " "))));
  const list = html("div");
  place.append(html("div", { class: "heading" }, html("h1", {}, "Executions"), html("span", { class: "tools" }, filter, status)), list);
  let machines;

  const fits = (execution) =>
    execution.name.toLowerCase().includes(filter.value.toLowerCase()) && (status.value === "All" || execution.status === status.value);

  const draw = () => {
    if (!machines) return;
    fill(list, machines.length ? machines.map(({ name, executions, more }) =>
      html("section", { class: "card" }, html("h2", {}, name),
        table(`Executions of ${name}`, ["Name", "Status", "Started", "Took", "Redrives"],
          executions.filter(fits).map((one) => [
            html("a", { href: to("execution", one.executionArn) }, one.name), badge(one.status), moment(one.startDate),
            span((one.stopDate ?? Date.now() / 1000) - one.startDate), String(one.redriveCount || ""),
          ]),
          executions.length ? "No execution fits the filter." : "No executions yet."),
        more && html("p", {}, `These are the newest ${executions.length}; there are more.`))) : html("p", {}, "There are no state machines."));
  };

  return {
    title: "Executions",
    refresh: async () => {
      ({ machines } = await read("executions"));
      draw();
    },
  };
};
