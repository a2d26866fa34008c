// All queues: what waits in them, and in their dead-letter queues.

import { fill, html, span, table } from "/static/dom.js";

const number = (count, bad) => html("span", { class: bad && count > 0 ? "number bad" : count > 0 ? "number some" : "number" }, String(count));

export const queuesPage = ({ place, read }) => ({
  title: "Queues",
  every: 10_000,
  refresh: async () => {
    const { queues } = await read("queues");
    fill(place, html("div", { class: "heading" }, html("h1", {}, "Queues")), html("section", { class: "card" },
      table("Queues", ["Queue", "Waiting", "In flight", "Delayed", "Oldest", "Dead letters"], queues.map((queue) => [
        [queue.name, queue.deadLettersOf.length > 0 && html("small", {}, `dead letters of ${queue.deadLettersOf.join(", ")}`)].filter(Boolean),
        number(queue.waiting, queue.deadLettersOf.length > 0), number(queue.inFlight), number(queue.delayed),
        queue.waiting || queue.inFlight ? span(queue.oldest) : "–",
        queue.deadLetters ? [number(queue.deadLetters.waiting, true), html("small", {}, `after ${queue.receives} receives`)] : "–",
      ]), "There are no queues.")));
  },
});
