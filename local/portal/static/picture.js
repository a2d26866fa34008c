// The image with its boxes. Annotorious edits the selected box; new boxes are drawn here, to follow the pointer.
import { createImageAnnotator } from "./annotorious.es.js";
import { placeTags } from "./tags.js";
import { Viewport } from "./viewport.js";

const SVG = "http://www.w3.org/2000/svg";
// Pixels of the screen: a shorter movement of the pointer is a click.
const CLICK = 4;
// Pixels of the screen around a box that still select it.
const REACH = 3;
// Square pixels of the image: a smaller box was drawn by mistake.
const LEAST_AREA = 16;

// Where the pointer was last: it stays there when the next frame comes. At first it is nowhere.
let pointerAt = "translate(-999px, 0)";

// Annotorious records changes of its own user for an undo that the page does not use, and that breaks on a change in the
// first quarter of a second after a page load. It does not record changes of others.
const OTHERS = "REMOTE";

const svg = (name, attributes = {}) => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

const bounds = ({ left: x, top: y, width: w, height: h }) => ({ x, y, w, h });

/** Return the smallest box around points. */
const around = (...points) => {
  const [xs, ys] = [points.map(({ x }) => x), points.map(({ y }) => y)];
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  return { left, top, width: Math.max(...xs) - left, height: Math.max(...ys) - top };
};

const annotation = (box) => {
  const { x, y, w, h } = bounds(box);
  const geometry = { x, y, w, h, rot: 0, bounds: { minX: x, minY: y, maxX: x + w, maxY: y + h } };
  return { id: box.id, bodies: [], target: { annotation: box.id, selector: { type: "RECTANGLE", geometry } } };
};

/** The outline of a box while it is drawn. */
class Band {
  constructor(layer) {
    this.element = svg("rect", { class: "portal-band" });
    layer.append(this.element);
  }

  show(box) {
    const { x, y, w, h } = bounds(box);
    for (const [key, value] of Object.entries({ x, y, width: w, height: h })) this.element.setAttribute(key, value);
  }

  remove() {
    this.element.remove();
  }
}

/**
 * Events: `select` (detail: an id or null), `place` (id, box), `draw` (id, box), `hover` (id or null), `points` (the
 * number of extreme points that are set, null when cancelled).
 */
export class Picture extends EventTarget {
  #items = new Map();
  #boxes = [];
  #candidates = [];
  #selected = null;
  #locked = new Set();
  #hovered = null;
  #points = null;
  #press = null;
  #updating = false;
  #listeners = new AbortController();

  constructor(image, host, colorOf) {
    super();
    this.host = host;
    this.colorOf = colorOf;
    this.size = { width: image.naturalWidth, height: image.naturalHeight };
    image.draggable = false;
    host.append(image);
    this.annotator = createImageAnnotator(image, {
      theme: "dark",
      drawingEnabled: false,
      style: (it) => ({ fill: "#ffffff", fillOpacity: 0, stroke: this.colorOf(this.#items.get(it.id)?.label), strokeWidth: 2 }),
    });
    this.stage = this.annotator.element;
    this.stage.className = "portal-stage";
    this.layer = this.stage.querySelector(".a9s-annotationlayer");
    // Only the image's host takes the focus; the annotator's own handles are for the pointer.
    this.layer.setAttribute("tabindex", "-1");
    this.layer.setAttribute("aria-hidden", "true");
    this.neighbour = document.createElement("img");
    this.neighbour.className = "portal-neighbour";
    this.neighbour.alt = "";
    this.neighbour.hidden = true;
    this.shapes = svg("svg", { class: "portal-shapes", viewBox: `0 0 ${this.size.width} ${this.size.height}`, "aria-hidden": "true" });
    const viewBox = `0 0 ${this.size.width} ${this.size.height}`;
    this.outlines = svg("svg", { class: "portal-outlines", viewBox, "aria-hidden": "true" });
    this.layer.before(this.shapes, this.neighbour, this.outlines);
    this.tags = svg("svg", { class: "portal-tags", "aria-hidden": "true" });
    this.pointer = document.createElement("p");
    this.pointer.className = "portal-pointer";
    this.pointer.setAttribute("aria-hidden", "true");
    this.pointer.style.transform = pointerAt;
    host.append(this.tags, this.pointer);
    this.viewport = new Viewport(host, this.size, (view, gliding) => this.#moved(view, gliding));
    this.annotator.state.store.observe(() => this.#dragged());
    this.#listen();
  }

  destroy() {
    this.#listeners.abort();
    this.viewport.stop();
    this.annotator.destroy();
  }

  /** Show boxes and candidates; a selected box has handles. `next`: the class at the pointer, null for none. */
  update({ boxes, candidates, selected, locked, next }) {
    this.#locked = locked;
    this.pointer.hidden = next === null;
    this.pointer.textContent = next;
    this.pointer.style.setProperty("--class", this.colorOf(next));
    this.#boxes = boxes;
    this.#candidates = candidates;
    this.#selected = selected;
    const shown = [...candidates, ...boxes];
    const ids = new Set(shown.map((item) => item.id));
    for (const [id, item] of this.#items) {
      if (ids.has(id)) continue;
      item.element.remove();
      this.#items.delete(id);
    }
    for (const item of shown) this.#shape(item);
    this.#edit(boxes.find((box) => box.id === selected && !locked.has(box.id)));
    this.#tag();
  }

  show(box) {
    this.viewport.show(box);
  }

  /** Begin to add a box by its four outermost points; a second call, or `false`, cancels. */
  extremes(wanted = this.#points === null) {
    this.#points = wanted ? [] : null;
    this.host.classList.toggle("portal-crosshair", wanted);
    this.#tag();
    this.#tell("points", wanted ? 0 : null);
  }

  get inExtremes() {
    return this.#points !== null;
  }

  get hovered() {
    return this.#hovered;
  }

  /** Show another frame in the same place, with its boxes; null shows this one again. */
  compare(frame) {
    if (frame && this.neighbour.getAttribute("src") !== frame.image) this.neighbour.src = frame.image;
    this.neighbour.hidden = !frame;
    this.outlines.replaceChildren(
      ...(frame?.boxes ?? []).map(({ label, left: x, top: y, width, height }) => {
        const outline = svg("rect", { class: "portal-outline", x, y, width, height });
        outline.style.setProperty("--class", this.colorOf(label));
        return outline;
      }),
    );
    this.host.classList.toggle("portal-bare", Boolean(frame));
  }

  bare(hidden) {
    this.host.classList.toggle("portal-bare", hidden);
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #shape(item) {
    let known = this.#items.get(item.id);
    if (!known) {
      const element = svg("g", { "data-id": item.id });
      element.append(svg("rect", { class: "portal-halo" }), svg("rect", { class: "portal-edge" }));
      this.shapes.append(element);
      known = { element };
      this.#items.set(item.id, known);
    }
    Object.assign(known, item);
    const { x, y, w, h } = bounds(item);
    for (const rect of known.element.children) {
      for (const [key, value] of Object.entries({ x, y, width: w, height: h })) rect.setAttribute(key, value);
    }
    known.element.style.setProperty("--class", this.colorOf(item.label));
    const is = {
      candidate: item.reviewed === undefined,
      proposed: item.proposed === true,
      new: item.isNew === true,
      reviewed: item.reviewed === true,
      selected: item.id === this.#selected,
      locked: this.#locked.has(item.id),
    };
    known.element.setAttribute("class", ["portal-shape", ...Object.keys(is).filter((key) => is[key])].join(" "));
  }

  #edit(box) {
    const { store } = this.annotator.state;
    const held = this.annotator.getSelected()[0]?.id;
    if (!box) {
      if (store.all().length) store.clear(OTHERS);
      return;
    }
    this.#updating = true;
    if (held === box.id) {
      store.updateAnnotation(annotation(box), OTHERS);
    } else {
      store.syncAnnotations([annotation(box)], OTHERS);
      this.annotator.setSelected(box.id);
    }
    this.#updating = false;
  }

  get #edited() {
    const made = this.annotator.state.store.all()[0];
    if (!made || made.id !== this.#selected) return null;
    const { x, y, w, h } = made.target.selector.geometry;
    return { left: x, top: y, width: w, height: h };
  }

  /** The handles are being dragged: move the tag. */
  #dragged() {
    if (!this.#updating && this.#press?.kind === "edit") this.#tag();
  }

  #moved(view, gliding) {
    this.stage.style.width = `${this.size.width * view.scale}px`;
    this.stage.style.height = `${this.size.height * view.scale}px`;
    this.stage.style.transform = `translate(${view.x}px, ${view.y}px)`;
    this.tags.classList.toggle("portal-gliding", gliding);
    if (!gliding) this.#tag();
  }

  #tag() {
    if (!this.viewport) return;
    const { scale, x, y } = this.viewport;
    const onScreen = (box) => ({ x: box.left * scale + x, y: box.top * scale + y, w: box.width * scale, h: box.height * scale });
    const edited = this.#edited;
    const important = (item) => [this.#selected, this.#hovered].includes(item.id) || item.isNew === true || item.proposed === true;
    const items = [...this.#boxes, ...this.#candidates].map((item) => {
      const candidate = item.reviewed === undefined;
      const sure = !candidate ? "" : item.proposed ? " drawn nearby?" : ` ${item.confidence.toFixed(2)}?${item.isNew ? " new" : ""}`;
      const flags = `${item.occluded ? " · occluded" : ""}${item.truncated ? " · truncated" : ""}`;
      const place = item.id === this.#selected && edited ? edited : item;
      const text = `${item.label}${sure}${flags}`;
      return { id: item.id, text, box: onScreen(place), must: important(item), widest: candidate ? 1 : 2, item };
    });
    items.sort((a, b) => b.must - a.must);
    const { clientWidth, clientHeight } = this.host;
    const places = placeTags(items, { w: clientWidth, h: clientHeight });
    const drawn = items.flatMap(({ id, text, item }) => {
      const at = places.get(id);
      if (!at) return [];
      const kind = item.reviewed === undefined ? " candidate" : id === this.#selected ? " selected" : "";
      const tag = svg("g", { class: `portal-tag${kind}` });
      const label = svg("text", { x: at.x + 4, y: at.y + 11 });
      label.textContent = text;
      tag.style.setProperty("--class", this.colorOf(item.label));
      tag.append(svg("rect", { x: at.x, y: at.y, width: at.w, height: at.h, rx: 2 }), label);
      return [tag];
    });
    for (const point of this.#points ?? []) {
      drawn.push(svg("circle", { class: "portal-point", cx: point.x * scale + x, cy: point.y * scale + y, r: 4 }));
    }
    this.tags.replaceChildren(...drawn);
  }

  /** Return the ids under the pointer, smallest box first. */
  #under(event) {
    const { x, y } = this.viewport.toPicture(event);
    const reach = REACH / this.viewport.scale;
    return [...this.#boxes, ...this.#candidates]
      .filter((b) => !this.#locked.has(b.id))
      .filter((b) => x > b.left - reach && y > b.top - reach && x < b.left + b.width + reach && y < b.top + b.height + reach)
      .sort((a, b) => a.width * a.height - b.width * b.height)
      .map((item) => item.id);
  }

  #listen() {
    const on = (target, type, handler) =>
      target.addEventListener(type, handler, { capture: true, passive: false, signal: this.#listeners.signal });
    on(this.host, "pointerdown", (event) => this.#down(event));
    on(this.host, "pointermove", (event) => this.#move(event));
    on(document, "pointerup", (event) => this.#up(event));
    on(document, "pointercancel", () => this.#cancel());
    on(this.host, "pointerleave", () => this.#hover(null));
    on(this.host, "wheel", (event) => {
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 30 : 1;
      this.viewport.zoomAt(event, Math.exp(-event.deltaY * lines * 0.0015));
    });
    // The middle button pans instead of scrolling.
    on(this.host, "auxclick", (event) => event.preventDefault());
  }

  #down(event) {
    const own = event.target.closest?.(".a9s-annotation.selected");
    const pans = event.button === 1 || (event.button === 0 && this.panning);
    if (event.button > 1) return;
    this.host.focus({ preventScroll: true });
    const kind = pans ? "pan" : this.#points ? "point" : own ? "edit" : "pick";
    this.#press = { kind, x: event.clientX, y: event.clientY, event, moved: false };
    if (kind !== "edit") {
      event.stopPropagation();
      event.preventDefault();
    }
    if (kind === "pan") this.host.setPointerCapture(event.pointerId);
  }

  #move(event) {
    const press = this.#press;
    this.#point(event);
    if (!press) {
      this.#hover(this.#under(event)[0] ?? null);
      return;
    }
    if (press.kind === "pan") {
      this.viewport.pan(event.clientX - press.x, event.clientY - press.y);
      [press.x, press.y] = [event.clientX, event.clientY];
      press.moved = true;
      this.panned = true;
      return;
    }
    if (!press.moved && Math.hypot(event.clientX - press.x, event.clientY - press.y) < CLICK) return;
    if (!press.moved && press.kind === "pick") this.#beginDrawing(press);
    press.moved = true;
    press.band?.show(around(press.start, this.#inPicture(event)));
  }

  /** Keep the class of the next new box beside the pointer, where a drag would draw one. */
  #point(event) {
    const { left, top } = this.host.getBoundingClientRect();
    pointerAt = `translate(${event.clientX - left + 14}px, ${event.clientY - top + 12}px)`;
    this.pointer.style.transform = pointerAt;
  }

  #beginDrawing(press) {
    this.#selected = null;
    this.annotator.state.store.clear(OTHERS);
    press.start = this.#inPicture(press.event);
    press.band = new Band(this.shapes);
    // The drag continues beyond the image's edge.
    this.host.setPointerCapture(press.event.pointerId);
  }

  /** Return the pointer's place in the image; beyond its edge, the nearest place on it. */
  #inPicture(event) {
    const { x, y } = this.viewport.toPicture(event);
    return { x: Math.min(Math.max(x, 0), this.size.width), y: Math.min(Math.max(y, 0), this.size.height) };
  }

  #up(event) {
    const press = this.#press;
    if (!press) return;
    // After a quick drag, the release is at another place than the last movement.
    this.#move(event);
    this.#press = null;
    press.band?.remove();
    if (press.kind === "point") this.#addPoint(press.event);
    if (press.kind === "edit" && press.moved && this.#edited) {
      this.#tell("place", { id: this.#selected, box: this.#edited });
    } else if (!press.moved && (press.kind === "pick" || press.kind === "edit")) {
      const under = this.#under(press.event);
      // A click on the selected box selects the next box behind it.
      const next = under[(under.indexOf(this.#selected) + 1) % under.length] ?? null;
      if (next !== this.#selected) this.#tell("select", next);
    } else if (press.band) {
      const box = around(press.start, this.#inPicture(event));
      if (box.width * box.height < LEAST_AREA) this.#tell("select", null);
      else this.#tell("draw", { id: crypto.randomUUID(), box });
    }
  }

  /** The browser has cancelled the pointer: drop the unfinished action. */
  #cancel() {
    const band = this.#press?.band;
    this.#press = null;
    band?.remove();
    if (band) this.#tell("select", null);
  }

  #addPoint(event) {
    this.#points.push(this.#inPicture(event));
    if (this.#points.length < 4) {
      this.#tag();
      this.#tell("points", this.#points.length);
      return;
    }
    // A clicked pixel belongs to the object.
    const { left, top, width, height } = around(...this.#points);
    const [x, y] = [Math.floor(left), Math.floor(top)];
    const box = { left: x, top: y, width: Math.ceil(left + width) - x, height: Math.ceil(top + height) - y };
    this.extremes(false);
    this.#tell("draw", { id: crypto.randomUUID(), box });
  }

  #hover(id) {
    if (id === this.#hovered) return;
    this.#items.get(this.#hovered)?.element.classList.remove("hovered");
    this.#hovered = id;
    this.#items.get(id)?.element.classList.add("hovered");
    this.#tag();
    this.#tell("hover", id);
  }
}
