"use strict";

const content = JSON.parse(document.getElementById("content").textContent);
const [NAME, LEFT, TOP, WIDTH, HEIGHT, CONFIDENCE] = [0, 1, 2, 3, 4, 5];
const CELL = 154;
const part = id => document.getElementById(id);

const started = content.frames.reduce((least, { time }) => (time < least ? time : least), content.frames[0].time);
for (const frame of content.frames) {
  frame.before ??= [];
  frame.changes ??= {};
  frame.level ??= 0;
  frame.nanoseconds = BigInt(frame.time);
  frame.seconds_since = Number(frame.nanoseconds - BigInt(started)) / 1e9;
  frame.clock = clockOf(frame.nanoseconds);
  frame.names = [...new Set(frame.boxes.map(box => box[NAME]))].map(name => content.classes[name]);
}

/** Write a time (ns since the epoch) as people read it, with milliseconds. */
function clockOf(nanoseconds) {
  const date = new Date(Number(nanoseconds / 1_000_000n));
  return Number.isNaN(date.getTime()) ? String(nanoseconds) : date.toISOString().replace("T", " ").replace("Z", "");
}

const FACETS = [
  ["Drive", frame => [frame.drive]],
  ["Camera", frame => [frame.camera]],
  ["Class", frame => frame.names],
  ["Label of", frame => [frame.by]],
  ["Chosen as", frame => (frame.kind ? [frame.kind] : [])],
  ["Reviewer’s changes", frame => Object.keys(frame.changes)],
  ["Reviewer", frame => (frame.reviewer ? [frame.reviewer] : [])],
  ["Reason", frame => frame.reasons ?? []],
];
const total = counts => Object.values(counts).reduce((sum, count) => sum + count, 0);
const leastConfidence = frame => frame.boxes.reduce((least, box) => (box[CONFIDENCE] ? Math.min(least, box[CONFIDENCE]) : least), 1);
const ORDERS = {
  "time": () => 0,
  "uncertainty": (a, b) => b.level - a.level,
  "most changes": (a, b) => total(b.changes) - total(a.changes),
  "least confidence": (a, b) => leastConfidence(a) - leastConfidence(b),
  "most boxes": (a, b) => b.boxes.length - a.boxes.length,
  "review time": (a, b) => (b.seconds ?? 0) - (a.seconds ?? 0),
};

const chosen = new Map(FACETS.map(([name]) => [name, new Set()]));
const state = { frames: [], at: 0, boxes: true, before: false, tab: "frames" };
// Frames of the cameras in step: by time, then camera. Sorting is stable, so other orders keep this one among equals.
const byTime = content.frames.map((_, at) => at).sort((a, b) => {
  const [one, other] = [content.frames[a], content.frames[b]];
  return one.drive.localeCompare(other.drive) || (one.time < other.time ? -1 : one.time > other.time ? 1 : one.camera.localeCompare(other.camera));
});

function makeFacets() {
  for (const [name, valuesOf] of FACETS) {
    const counts = new Map();
    for (const frame of content.frames) for (const value of valuesOf(frame)) counts.set(value, (counts.get(value) ?? 0) + 1);
    if (counts.size < 2 && !(name === "Reviewer’s changes" && counts.size)) continue;
    const list = element("div");
    for (const [value, count] of [...counts].sort((a, b) => b[1] - a[1])) {
      const box = element("input", { type: "checkbox" });
      box.onchange = () => {
        chosen.get(name)[box.checked ? "add" : "delete"](value);
        choose();
      };
      const label = element("label", {}, box);
      if (name === "Class") {
        const dot = element("span", { className: "dot" });
        dot.style.background = content.colors[content.classes.indexOf(value)];
        label.append(dot);
      }
      label.append(value, element("b", { textContent: count.toLocaleString() }));
      list.append(label);
    }
    part("facets").append(element("fieldset", {}, element("legend", { textContent: name }), list));
  }
}

/** Choose the frames that pass all filters, in order. The frame that is shown stays if it passes. */
function choose() {
  const current = state.frames[state.at];
  const least = Number(part("least").value);
  const filters = FACETS.filter(([name]) => chosen.get(name).size).map(([name, valuesOf]) => [chosen.get(name), valuesOf]);
  state.frames = byTime.filter(at => {
    const frame = content.frames[at];
    return frame.level >= least && filters.every(([wanted, valuesOf]) => valuesOf(frame).some(value => wanted.has(value)));
  });
  const order = ORDERS[part("order").value];
  state.frames.sort((a, b) => order(content.frames[a], content.frames[b]));
  state.at = Math.max(0, state.frames.indexOf(current));
  part("least-shown").textContent = least.toFixed(2);
  const unreadable = content.unreadable ? `; ${content.unreadable.toLocaleString()} without boxes to show` : "";
  part("count").textContent = `${state.frames.length.toLocaleString()} of ${content.frames.length.toLocaleString()} frames${unreadable}`;
  part("cells").style.width = `${state.frames.length * CELL}px`;
  part("cells").replaceChildren();
  show();
}

function show() {
  for (const tab of ["frames", "tracks", "figures"]) {
    part(tab).hidden = state.tab !== tab;
    part(`show-${tab}`).setAttribute("aria-pressed", state.tab === tab);
  }
  if (state.tab === "frames") showFrame();
  else if (state.tab === "tracks") showTracks(part("tracks"), content, state.frames, open);
  else showFigures();
}

function open(at) {
  state.tab = "frames";
  state.at = state.frames.indexOf(at);
  show();
}

function showFrame() {
  const frame = content.frames[state.frames[state.at]];
  if (!frame) {
    part("picture").replaceChildren();
    part("caption").textContent = "No frame passes the filters.";
    return;
  }
  const shapes = [svg("image", { href: frame.image, width: frame.width, height: frame.height })];
  if (state.before) shapes.push(...frame.before.map(box => outline(box, "before")));
  if (state.boxes) {
    const wanted = chosen.get("Class");
    const boxes = frame.boxes.filter(box => !wanted.size || wanted.has(content.classes[box[NAME]]));
    shapes.push(...boxes.map(box => outline(box, "label")), ...boxes.map(box => captionOf(box, frame)));
  }
  part("picture").replaceChildren(svg("svg", { viewBox: `0 0 ${frame.width} ${frame.height}` }, ...shapes));
  const seconds = frame.seconds ? `${frame.seconds} s of review` : "";
  const changes = Object.entries(frame.changes).map(([kind, count]) => `${count} ${kind}`).join(", ");
  const said = [frame.drive, frame.camera, frame.clock, frame.source, `label of ${frame.by}`, frame.kind, `uncertainty ${frame.level.toFixed(2)}`,
    changes, frame.reviewer && `reviewer ${frame.reviewer}`, seconds, ...(frame.reasons ?? []), frame.comment];
  part("caption").replaceChildren(element("b", { textContent: `${state.at + 1} of ${state.frames.length.toLocaleString()}` }),
    element("span", { textContent: ` · ${said.filter(Boolean).join(" · ")}` }));
  for (const near of [1, -1, 2]) {
    const next = content.frames[state.frames[state.at + near]];
    if (next) new Image().src = next.image;
  }
  const strip = part("strip");
  strip.scrollLeft = state.at * CELL - (strip.clientWidth - CELL) / 2;
  showCells();
}

const outline = (box, kind) => svg("rect", { class: kind, x: box[LEFT], y: box[TOP], width: box[WIDTH], height: box[HEIGHT], stroke: content.colors[box[NAME]] });

function captionOf(box, frame) {
  const size = Math.max(frame.width / 90, 8);
  const confidence = box[CONFIDENCE] ? ` ${box[CONFIDENCE].toFixed(2)}` : "";
  const place = { x: box[LEFT], y: Math.max(box[TOP] - size / 3, size), "font-size": size, "stroke-width": size / 5, fill: content.colors[box[NAME]] };
  return svg("text", place, content.classes[box[NAME]] + confidence);
}

/** Make the cells of the strip that are in view, and remove the others. */
function showCells() {
  const strip = part("strip");
  const first = Math.max(0, Math.floor(strip.scrollLeft / CELL) - 2);
  const last = Math.min(state.frames.length, Math.ceil((strip.scrollLeft + strip.clientWidth) / CELL) + 2);
  const there = new Map([...part("cells").children].map(cell => [cell.at, cell]));
  for (const [at, cell] of there) if (at < first || at >= last) cell.remove();
  for (let at = first; at < last; at++) {
    const cell = there.get(at) ?? makeCell(at);
    cell.setAttribute("aria-current", at === state.at);
    if (!there.has(at)) part("cells").append(cell);
  }
}

function makeCell(at) {
  const frame = content.frames[state.frames[at]];
  const image = element("img", { src: frame.image, alt: frame.clock, decoding: "async" });
  const cell = element("button", { at, title: `${frame.camera} ${frame.clock}`, onclick: () => go(at) }, image);
  cell.style.left = `${at * CELL}px`;
  return cell;
}

function go(at) {
  state.at = Math.max(0, Math.min(state.frames.length - 1, at));
  showFrame();
}

function showFigures() {
  const frames = state.frames.map(at => content.frames[at]);
  const boxes = frames.flatMap(frame => frame.boxes);
  const tenths = Array.from({ length: 20 }, (_, n) => n / 20);
  const sizes = [0, 8, 16, 25, 40, 64, 100, 160, 256, 400];
  const confidences = boxes.map(box => box[CONFIDENCE]).filter(Boolean);
  part("figures").replaceChildren(
    element("p", { textContent: `${frames.length.toLocaleString()} frames with ${boxes.length.toLocaleString()} boxes` }),
    barChart("Uncertainty of frames", histogram(frames.map(frame => frame.level), tenths), ["0", "0.5", "1"]),
    barChart("Confidence of the models’ boxes", histogram(confidences, tenths), ["0", "0.5", "1"]),
    barChart("Height of boxes in pixels", histogram(boxes.map(box => box[HEIGHT]), sizes), ["below 8", "64", "400 and more"]),
    barChart("Boxes of a frame", histogram(frames.map(frame => frame.boxes.length), Array.from({ length: 20 }, (_, n) => n * 2)), ["0", "20", "38 and more"]),
  );
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLSelectElement) return;
  const actions = {
    ArrowLeft: () => go(state.at - 1),
    ArrowRight: () => go(state.at + 1),
    Home: () => go(0),
    End: () => go(state.frames.length - 1),
    b: () => { state.boxes = !state.boxes; showFrame(); },
    m: () => { state.before = !state.before; showFrame(); },
  };
  const slides = event.target.type === "range" && event.key.length > 1;
  if (state.tab !== "frames" || slides || !actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
}

makeFacets();
part("order").append(...Object.keys(ORDERS).map(name => element("option", { textContent: name })));
part("order").onchange = choose;
part("least").oninput = choose;
part("reset").onclick = () => {
  for (const wanted of chosen.values()) wanted.clear();
  for (const box of part("facets").querySelectorAll("input")) box.checked = false;
  part("least").value = 0;
  choose();
};
for (const tab of ["frames", "tracks", "figures"]) part(`show-${tab}`).onclick = () => { state.tab = tab; show(); };
part("strip").onscroll = showCells;
addEventListener("keydown", press);
addEventListener("resize", showCells);
choose();
performance.mark("autolabel:ready");
