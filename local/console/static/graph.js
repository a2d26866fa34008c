// The graph of a state machine: layout by dagre, drawn as SVG. A Map or Parallel state is a box around its states.

import { html, svg } from "/static/dom.js";

const HEIGHT = 38;
const HEAD = 30;
const PADDING = 14;
const READABLE = 0.8;
const START = "\0start";
const END = "\0end";

/** Where a state may go, as [name, kind]: kind is "next" or "catch". END: the machine, or its branch, ends there. */
export const exits = (state) => {
  const found = new Map();
  const add = (name, kind) => {
    if (name !== undefined && found.get(name) !== "next") found.set(name, kind);
  };
  add(state.Next, "next");
  for (const choice of state.Choices ?? []) add(choice.Next, "next");
  add(state.Default, "next");
  if (state.End || state.Type === "Succeed" || state.Type === "Fail") add(END, "next");
  for (const entry of state.Catch ?? []) add(entry.Next, "catch");
  return [...found];
};

/** The machines inside a state. */
export const inner = (state) => [state.ItemProcessor ?? state.Iterator ?? [], state.Branches ?? []].flat();

const textWidth = (name) => Math.min(Math.max(name.length * 7.4 + 34, 96), 260);

const layOut = (dagre, machine) => {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: "TB", nodesep: 26, ranksep: 34, edgesep: 14, marginx: 4, marginy: 4 });
  graph.setDefaultEdgeLabel(() => ({}));
  graph.setNode(START, { width: 18, height: 18 });
  graph.setNode(END, { width: 18, height: 18 });
  for (const [name, state] of Object.entries(machine.States)) {
    const parts = inner(state).map((part) => layOut(dagre, part));
    const width = parts.reduce((sum, part) => sum + part.width + PADDING, PADDING);
    const height = Math.max(0, ...parts.map((part) => part.height));
    graph.setNode(name, {
      state, parts,
      width: parts.length ? Math.max(width, textWidth(name) + 60) : textWidth(name),
      height: parts.length ? HEAD + height + PADDING : HEIGHT,
    });
  }
  graph.setEdge(START, machine.StartAt, { kind: "next" });
  for (const [name, state] of Object.entries(machine.States)) {
    for (const [target, kind] of exits(state)) if (graph.hasNode(target)) graph.setEdge(name, target, { kind });
  }
  dagre.layout(graph);
  return { graph, width: graph.graph().width, height: graph.graph().height };
};

const curve = (points) => {
  if (points.length < 3) return `M${points.map((p) => `${p.x},${p.y}`).join("L")}`;
  let path = `M${points[0].x},${points[0].y}`;
  for (let i = 1; i < points.length - 1; i++) {
    const last = i === points.length - 2;
    const end = last ? points[i + 1] : { x: (points[i].x + points[i + 1].x) / 2, y: (points[i].y + points[i + 1].y) / 2 };
    path += `Q${points[i].x},${points[i].y} ${end.x},${end.y}`;
  }
  return path;
};

const shortened = (name) => (name.length > 32 ? `${name.slice(0, 31)}…` : name);

/** A drawn state machine. `choose` is called with a state's name. */
export class MachineGraph {
  #states = new Map();
  #edges = [];

  constructor(dagre, definition, choose) {
    this.definitions = new Map();
    const laidOut = layOut(dagre, definition);
    const marker = svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse" }, svg("path", { d: "M0,0L8,4L0,8z" }));
    this.picture = svg("svg", { class: "graph", viewBox: `0 0 ${laidOut.width} ${laidOut.height}`, width: laidOut.width, height: laidOut.height, role: "group", "aria-label": "State machine" }, svg("defs", {}, marker));
    this.#draw(laidOut, this.picture, choose);
    this.size = laidOut;
    this.node = html("div", { class: "graph-frame" }, this.picture);
  }

  /** Scales the picture by a factor; without one, to its frame's width, as far as names stay readable. */
  zoom(factor) {
    const { width, height } = this.size;
    const fitting = Math.min(Math.max(this.node.clientWidth / width, READABLE), 1);
    this.scale = factor ? Math.min(Math.max(this.scale * factor, 0.2), 2) : fitting;
    this.picture.setAttribute("width", width * this.scale);
    this.picture.setAttribute("height", height * this.scale);
  }

  #draw({ graph }, into, choose) {
    for (const name of graph.nodes()) {
      const { x, y, width, height, state, parts } = graph.node(name);
      if (!state) {
        into.append(svg("circle", { class: "terminal", cx: x, cy: y, r: 8 }), svg("circle", { class: name === END ? "terminal end" : "terminal start", cx: x, cy: y, r: 4 }));
        continue;
      }
      const [left, top] = [x - width / 2, y - height / 2];
      const note = svg("text", { class: "note", x: width - 8, y: 19, "text-anchor": "end" });
      const kind = parts.length ? "state container" : state.Type === "Choice" ? "state choice" : "state";
      const box = svg("g", {
        class: kind, transform: `translate(${left},${top})`, tabindex: 0, role: "button",
        onclick: (event) => { event.stopPropagation(); choose(name); },
        onkeydown: (event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          event.stopPropagation();
          choose(name);
        },
      }, svg("title", {}, `${name} (${state.Type})`),
        svg("rect", { width, height, rx: state.Type === "Choice" ? 18 : 7 }),
        svg("text", parts.length ? { x: 12, y: 20 } : { x: width / 2, y: HEIGHT / 2 + 4.5, "text-anchor": "middle" }, shortened(name)), note);
      into.append(box);
      this.#states.set(name, { box, note, title: `${name}, ${state.Type}`, container: parts.length > 0 });
      this.definitions.set(name, state);
      let from = left + PADDING;
      for (const part of parts) {
        const group = svg("g", { transform: `translate(${from},${top + HEAD})` });
        into.append(group);
        this.#draw(part, group, choose);
        from += part.width + PADDING;
      }
    }
    // Above the boxes, which would hide the bend of a line.
    for (const edge of graph.edges()) {
      const { points, kind } = graph.edge(edge);
      const line = svg("path", { class: `edge ${kind}`, d: curve(points), "marker-end": "url(#arrow)" });
      const from = edge.v === START ? "" : edge.v;
      this.#edges.push({ from, target: edge.w, key: JSON.stringify([from, edge.w]), line });
      into.append(line);
    }
  }

  /** Shows the statuses of a run. `notes`: texts beside the names of Map states, by name. */
  show(run, notes, chosen) {
    const statuses = run.statuses();
    for (const [name, { box, note, title, container }] of this.#states) {
      const status = statuses.get(name);
      if (box.dataset.status !== (status ?? "")) box.dataset.status = status ?? "";
      box.setAttribute("aria-label", `${title}, ${(status ?? "not entered").toLowerCase()}`);
      box.setAttribute("aria-pressed", String(name === chosen));
      if (container) note.textContent = notes.get(name) ?? "";
    }
    for (const { from, target, key, line } of this.#edges) {
      const ended = target === END && statuses.get(from) === "SUCCEEDED";
      line.classList.toggle("taken", run.taken.has(key) || ended);
    }
  }

  /** Scrolls its frame so that a running state is in view. */
  follow(name) {
    const box = this.#states.get(name)?.box;
    if (!box) return;
    const [frame, place] = [this.node.getBoundingClientRect(), box.getBoundingClientRect()];
    this.node.scrollTo({
      top: this.node.scrollTop + place.top + Math.min(place.height, frame.height) / 2 - frame.top - frame.height / 2,
      left: this.node.scrollLeft + place.left + Math.min(place.width, frame.width) / 2 - frame.left - frame.width / 2,
    });
  }
}
