// The lanes below the picture: one for each track, with the frames where it has boxes, its uncertainty and key frames.
// A lane is drawn when something of it changes. A frame that plays moves the mark of the present frame only.
import { FILLED } from "./tracks.js";

const GUTTER = 132;
const RULER = 22;
const LANE = 22;
const BAR = 5;
const EDGE = 10;
const FONT = "12px system-ui, sans-serif";
// Uncertainty below and from the level, in colours that classes do not have.
const CERTAIN = "#4d5258";
const UNCERTAIN = "#eceff2";
const MARKS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

/** Events: `seek` (detail: a frame), `select` (a track's id). */
export class Lanes extends EventTarget {
  #tracks = [];
  #selected = null;
  #other = null;
  #level = 0.5;
  #width = 0;
  #height = 0;
  #ratio = 1;
  #at = 0;
  #frame = 0;
  // By track, the picture of its lane, and of what it was drawn.
  #drawn = new Map();

  constructor(host, frames) {
    super();
    this.host = host;
    this.frames = frames;
    this.space = document.createElement("div");
    this.still = document.createElement("canvas");
    this.head = document.createElement("canvas");
    const layers = document.createElement("div");
    layers.className = "strip-layers";
    layers.append(this.still, this.head);
    host.append(layers, this.space);
    this.pen = this.still.getContext("2d");
    this.mark = this.head.getContext("2d");
    new ResizeObserver(() => this.#resize()).observe(host);
    host.addEventListener("scroll", () => this.#render(), { passive: true });
    let scrubs = false;
    host.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      const { x, y } = this.#place(event);
      if (x > host.clientWidth) return;
      event.preventDefault();
      const track = y > RULER ? this.#tracks[Math.floor((y - RULER + host.scrollTop) / LANE)] : null;
      if (track) this.dispatchEvent(new CustomEvent("select", { detail: track.id }));
      scrubs = x >= GUTTER - EDGE;
      if (scrubs) this.#seek(x);
      if (scrubs) host.setPointerCapture(event.pointerId);
    });
    host.addEventListener("pointermove", (event) => scrubs && this.#seek(this.#place(event).x));
    for (const end of ["pointerup", "pointercancel"]) host.addEventListener(end, () => (scrubs = false));
    this.#resize();
  }

  /**
   * Draw the lanes of these tracks; `level`: from which a box is uncertain. `other`: the track that a merge proposes,
   * whose lane comes below the selected one's.
   */
  update(tracks, selected, level, other = null) {
    const proposed = tracks.find(({ id }) => id === other);
    const rest = tracks.filter((one) => one !== proposed);
    this.#tracks = proposed ? rest.flatMap((one) => (one.id === selected ? [one, proposed] : [one])) : tracks;
    this.#other = other;
    this.#level = level;
    const there = new Set(tracks.map(({ id }) => id));
    for (const id of this.#drawn.keys()) if (!there.has(id)) this.#drawn.delete(id);
    this.space.style.height = `${RULER + tracks.length * LANE}px`;
    if (selected !== this.#selected || other !== null) {
      const top = this.#tracks.findIndex(({ id }) => id === selected) * LANE;
      const room = this.#height - RULER - (other === null ? LANE : 2 * LANE);
      if (top >= 0) this.host.scrollTop = Math.min(Math.max(this.host.scrollTop, top - room), top);
    }
    this.#selected = selected;
    this.#render();
  }

  /** Mark the frame that is shown. Allocates nothing. */
  draw(frame) {
    const { mark } = this;
    mark.clearRect(this.#at - 4, 0, 8, this.#height);
    this.#frame = frame;
    // Whole numbers, for which the engine allocates nothing.
    this.#at = Math.round(this.#x(frame));
    mark.fillStyle = "#f2f5f8";
    mark.fillRect(this.#at - 1, 0, 2, this.#height);
    mark.fillRect(this.#at - 3, 0, 6, 6);
  }

  #x(frame) {
    return GUTTER + ((frame + 0.5) * (this.#width - GUTTER - EDGE)) / this.frames;
  }

  #place({ clientX, clientY }) {
    const { left, top } = this.host.getBoundingClientRect();
    return { x: clientX - left, y: clientY - top };
  }

  #seek(x) {
    const frame = Math.floor(((x - GUTTER) * this.frames) / (this.#width - GUTTER - EDGE));
    this.dispatchEvent(new CustomEvent("seek", { detail: Math.min(Math.max(frame, 0), this.frames - 1) }));
  }

  #resize() {
    this.#ratio = devicePixelRatio;
    [this.#width, this.#height] = [this.host.clientWidth, this.host.clientHeight];
    for (const canvas of [this.still, this.head]) {
      canvas.width = Math.round(this.#width * this.#ratio);
      canvas.height = Math.round(this.#height * this.#ratio);
      canvas.style.width = `${this.#width}px`;
      canvas.style.height = `${this.#height}px`;
    }
    this.mark.setTransform(this.#ratio, 0, 0, this.#ratio, 0, 0);
    this.#render();
    this.draw(this.#frame);
  }

  #render() {
    const { pen } = this;
    if (this.still.width === 0) return;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, this.still.width, this.still.height);
    const top = this.host.scrollTop;
    for (let i = Math.floor(top / LANE); i < this.#tracks.length; i++) {
      const y = RULER + i * LANE - top;
      if (y > this.#height) break;
      pen.drawImage(this.#lane(this.#tracks[i]), 0, Math.round(y * this.#ratio));
    }
    pen.setTransform(this.#ratio, 0, 0, this.#ratio, 0, 0);
    this.#ruler();
  }

  #ruler() {
    const { pen } = this;
    pen.font = FONT;
    pen.fillStyle = "#181b1f";
    pen.fillRect(0, 0, this.#width, RULER);
    const step = MARKS.find((every) => this.#x(every) - this.#x(0) >= 44) ?? this.frames;
    pen.fillStyle = "#929ca7";
    for (let frame = 0; frame < this.frames; frame += step) {
      pen.fillRect(this.#x(frame), RULER - 5, 1, 5);
      pen.fillText(String(frame + 1), this.#x(frame) + 3, 13);
    }
    pen.fillText(`${this.#tracks.length} tracks`, 10, 14);
  }

  /** Return the picture of a track's lane. It is drawn anew only if the track, or how it looks, has changed. */
  #lane(track) {
    const state = track.id === this.#selected ? "selected" : track.id === this.#other ? "proposed" : this.#other === null ? "" : "pale";
    const look = [state, track.color, this.#level, this.#width, this.#ratio].join();
    const drawn = this.#drawn.get(track.id) ?? { canvas: document.createElement("canvas") };
    if (drawn.track === track && drawn.look === look) return drawn.canvas;
    this.#drawn.set(track.id, Object.assign(drawn, { track, look }));
    // A new size clears it.
    [drawn.canvas.width, drawn.canvas.height] = [this.still.width, Math.ceil(LANE * this.#ratio)];
    const pen = drawn.canvas.getContext("2d");
    pen.scale(this.#ratio, this.#ratio);
    this.#paint(pen, track, state);
    return drawn.canvas;
  }

  #paint(pen, track, state) {
    pen.font = FONT;
    pen.fillStyle = state === "selected" ? "#2b3a4d" : "#14171a";
    pen.fillRect(0, 1, this.#width, LANE - 2);
    pen.globalAlpha = state === "pale" ? 0.3 : track.accepted && !state ? 0.55 : 1;
    pen.fillStyle = track.color;
    pen.fillRect(10, 7, 8, 8);
    pen.fillStyle = "#d9dee4";
    pen.fillText(track.name, 24, 15, GUTTER - 48);
    if (track.accepted) {
      pen.fillStyle = "#57ab5a";
      pen.fillText("✓", GUTTER - 20, 15);
    }
    const wide = (this.#width - GUTTER - EDGE) / this.frames;
    const floor = LANE - BAR - 2;
    for (const [color, from, to] of [[CERTAIN, 0, this.#level], [UNCERTAIN, this.#level, Infinity]]) {
      pen.beginPath();
      for (let frame = 0; frame < this.frames; frame++) {
        const level = track.uncertainty[frame];
        const high = level * (LANE - BAR - 5);
        if (level >= from && level < to && level > 0) pen.rect(this.#x(frame) - wide / 2, floor - high, wide + 0.3, high - 1);
      }
      pen.fillStyle = color;
      pen.fill();
    }
    pen.fillStyle = track.color;
    for (let from = 0, to = 0; from < this.frames; from = to) {
      const kind = track.has[from];
      for (to = from; to < this.frames && track.has[to] === kind; ) to++;
      const thin = kind === FILLED;
      if (kind) pen.fillRect(this.#x(from) - wide / 2, floor + (thin ? BAR / 2 - 1 : 0), wide * (to - from), thin ? 2 : BAR);
    }
    pen.fillStyle = "#fff";
    for (const { frame } of track.keys) {
      const [x, middle] = [this.#x(frame), floor + BAR / 2];
      pen.beginPath();
      pen.moveTo(x - 4, middle);
      pen.lineTo(x, middle - 4);
      pen.lineTo(x + 4, middle);
      pen.lineTo(x, middle + 4);
      pen.fill();
    }
    if (state !== "proposed") return;
    pen.strokeStyle = "#fff";
    pen.lineWidth = 2;
    pen.setLineDash([6, 4]);
    pen.strokeRect(1, 2, this.#width - 2, LANE - 4);
  }
}
