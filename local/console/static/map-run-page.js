// A Distributed Map's run: its counts and its child executions, the shards.

import { badge, fill, html, moment, nameOf, span, table, to } from "/static/dom.js";

const SHOWN = [["succeeded", "SUCCEEDED"], ["running", "RUNNING"], ["failed", "FAILED"], ["timedOut", "TIMED_OUT"], ["aborted", "ABORTED"], ["pending", "PENDING"]];

/** A bar of counts by status, with the figures. */
export const counts = (found) => {
  const some = SHOWN.filter(([name]) => found[name] > 0);
  const words = some.map(([name]) => `${found[name]} ${name === "timedOut" ? "timed out" : name}`).join(", ") || "none";
  const bar = html("span", { class: "bar", role: "img", "aria-label": words }, some.map(([name, status]) => {
    const part = html("i", { class: status });
    part.style.flexGrow = found[name];
    return part;
  }));
  return html("span", { class: "counts" }, bar, words);
};

export const mapRunPage = ({ place, read, arn }) => {
  const label = arn.split("/").at(-1).split(":")[0];
  return {
    title: label,
    refresh: async () => {
      const { mapRun, executions, more } = await read("map-run", { arn });
      fill(place, html("div", { class: "heading" }, html("h1", {}, `Map run ${label}`), badge(mapRun.status)),
        html("div", { class: "figures" }, html("span", {}, "of ", html("a", { href: to("execution", mapRun.executionArn) }, nameOf(mapRun.executionArn))),
          html("span", {}, "started ", html("b", {}, moment(mapRun.startDate))),
          html("span", {}, "at most ", html("b", {}, mapRun.maxConcurrency || "any number"), " at once"),
          html("span", {}, "tolerates ", html("b", {}, `${mapRun.toleratedFailureCount} failed, ${mapRun.toleratedFailurePercentage} %`))),
        html("section", { class: "card" }, html("h2", {}, "Items"), counts(mapRun.itemCounts), html("h2", {}, "Child executions"), counts(mapRun.executionCounts),
          table("Child executions", ["Name", "Status", "Items", "Started", "Took"], executions.map((one) => [
            html("a", { href: to("execution", one.executionArn) }, one.name), badge(one.status), String(one.itemCount ?? ""),
            moment(one.startDate), span((one.stopDate ?? Date.now() / 1000) - one.startDate)]), "None has begun."),
          more && html("p", {}, `These are the newest ${executions.length}; there are more.`)));
    },
  };
};
