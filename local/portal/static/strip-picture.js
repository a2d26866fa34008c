// The picture of a strip with its boxes, on two canvases: the image below, boxes and handles above.
// `draw` runs for each frame that plays, and allocates nothing: it makes no objects, and gives the canvas whole numbers,
// since the engine allocates for each fraction that leaves the script.
import { FILLED } from "./tracks.js";
import { textWidth } from "./tags.js";
import { Viewport } from "./viewport.js";

// Pixels of the screen: a shorter movement of the pointer is a click; how far from a handle it is still held.
const CLICK = 4;
const REACH = 7;
const HANDLE = 7;
// Square pixels of the image: a smaller box was drawn by mistake.
const LEAST_AREA = 16;
const FONT = "600 11px system-ui, sans-serif";
const TAG = 15;
const SOLID = [];
const DASHES = [5, 3];
const GHOST = [2, 4];
const PROPOSED = "#fff";
// The handles, by the sides that they move: left, top, right, bottom.
const HANDLES = [
  [1, 1, 0, 0, "nwse-resize"], [0, 1, 0, 0, "ns-resize"], [0, 1, 1, 0, "nesw-resize"], [0, 0, 1, 0, "ew-resize"],
  [0, 0, 1, 1, "nwse-resize"], [0, 0, 0, 1, "ns-resize"], [1, 0, 0, 1, "nesw-resize"], [1, 0, 0, 0, "ew-resize"],
];

const along = (start, length, less, more) => (less ? start : more ? start + length : start + (length >> 1));

/** Events: `select` (detail: a track's id or null), `place` (a box of the selected track), `draw` (a box). */
export class StripPicture extends EventTarget {
  tracks = [];
  selected = null;
  // The track that a merge proposes, and the frame of its box that is shown, also if that is another one.
  other = null;
  otherFrame = 0;
  frame = 0;
  bare = false;
  colorOf = () => "#fff";
  #film = null;
  #drawn = null;
  #moved = true;
  #press = null;
  #preview = null;
  #hovered = null;
  #ratio = 1;

  constructor(host, size) {
    super();
    this.host = host;
    this.size = size;
    this.below = document.createElement("canvas");
    this.above = document.createElement("canvas");
    this.below.className = "strip-film";
    host.append(this.below, this.above);
    this.#film = this.below.getContext("2d", { alpha: false });
    this.pen = this.above.getContext("2d");
    this.viewport = new Viewport(host, size, () => this.#view());
    new ResizeObserver(() => this.#resize()).observe(host);
    this.#resize();
    this.#listen();
  }

  /** Draw the frame; `image`: of the frame, null while it is loading. */
  draw(image) {
    this.image = image;
    if (image !== null && (image !== this.#drawn || this.#moved)) {
      const { scale, x, y } = this.viewport;
      const film = this.#film;
      if (this.#moved) {
        film.setTransform(1, 0, 0, 1, 0, 0);
        film.clearRect(0, 0, this.below.width, this.below.height);
        film.setTransform(scale * this.#ratio, 0, 0, scale * this.#ratio, x * this.#ratio, y * this.#ratio);
      }
      film.drawImage(image, 0, 0, this.size.width, this.size.height);
      this.#drawn = image;
      this.#moved = false;
    }
    const { pen } = this;
    pen.clearRect(0, 0, this.host.clientWidth, this.host.clientHeight);
    // Boxes over another frame's image would mislead.
    if (image === null || this.bare) return;
    for (let i = 0; i < this.tracks.length; i++) {
      const { id } = this.tracks[i];
      if (id !== this.selected && id !== this.other) this.#box(this.tracks[i], false);
    }
    for (let i = 0; i < this.tracks.length; i++) if (this.tracks[i].id === this.selected) this.#box(this.tracks[i], true);
    for (let i = 0; i < this.tracks.length; i++) if (this.tracks[i].id === this.other) this.#box(this.tracks[i], false, this.otherFrame);
    if (this.#press?.kind === "draw") this.#band();
  }

  redraw() {
    this.draw(this.image ?? null);
  }

  /** Return the box of the selected track in this frame, null without one. */
  get box() {
    const track = this.tracks.find(({ id }) => id === this.selected);
    return track?.has[this.frame] ? Array.from(track.boxes.subarray(4 * this.frame, 4 * this.frame + 4)) : null;
  }

  /** Zoom to the selected box. */
  show() {
    if (!this.box) return;
    const [left, top, width, height] = this.box;
    this.viewport.show({ left, top, width, height });
  }

  /** Bring the selected box back into sight if it has left the part of the image that is shown. */
  follow() {
    if (!this.box || this.viewport.fitted) return;
    const [left, top, width, height] = this.box;
    const { scale, x, y } = this.viewport;
    const { clientWidth, clientHeight } = this.host;
    const [cx, cy] = [(left + width / 2) * scale + x, (top + height / 2) * scale + y];
    const inside = cx >= 0 && cy >= 0 && cx <= clientWidth && cy <= clientHeight;
    if (!inside) this.viewport.pan(clientWidth / 2 - cx, clientHeight / 2 - cy);
  }

  #view() {
    this.#moved = true;
    if (this.pen) this.redraw();
  }

  #resize() {
    this.#ratio = devicePixelRatio;
    for (const canvas of [this.below, this.above]) {
      canvas.width = Math.round(this.host.clientWidth * this.#ratio);
      canvas.height = Math.round(this.host.clientHeight * this.#ratio);
    }
    this.pen.setTransform(this.#ratio, 0, 0, this.#ratio, 0, 0);
    this.#view();
  }

  #box(track, selected, frame = this.frame) {
    const at = 4 * frame;
    const { pen } = this;
    const { scale, x, y } = this.viewport;
    const has = track.has[frame];
    if (!has) return;
    const moved = selected && this.#preview !== null;
    const from = moved ? this.#preview : track.boxes;
    const start = moved ? 0 : at;
    const left = Math.round(from[start] * scale + x);
    const top = Math.round(from[start + 1] * scale + y);
    const width = Math.round(from[start + 2] * scale);
    const height = Math.round(from[start + 3] * scale);
    const proposed = track.id === this.other;
    const strong = selected || proposed || track.id === this.#hovered;
    pen.globalAlpha = strong || this.selected === null ? 1 : this.other !== null ? 0.3 : track.accepted ? 0.5 : 0.85;
    pen.setLineDash(SOLID);
    pen.lineWidth = strong ? 5 : 4;
    pen.strokeStyle = "#0008";
    pen.strokeRect(left, top, width, height);
    if (has === FILLED || frame !== this.frame) pen.setLineDash(DASHES);
    pen.lineWidth = strong ? 3 : 2;
    pen.strokeStyle = proposed ? PROPOSED : track.color;
    pen.strokeRect(left, top, width, height);
    if (track.id === this.#hovered || proposed) {
      pen.globalAlpha = proposed ? 0.35 : 0.16;
      pen.fillStyle = track.color;
      pen.fillRect(left, top, width, height);
    }
    pen.globalAlpha = 1;
    pen.setLineDash(SOLID);
    const wide = textWidth(track.name);
    if (strong || width >= 0.8 * wide) {
      const above = top > TAG + 2 ? top - TAG - 1 : top + height + 1;
      pen.fillStyle = selected ? track.color : proposed ? PROPOSED : "#14171acc";
      pen.fillRect(left - 1, above, wide, TAG);
      pen.fillStyle = selected || proposed ? "#000" : "#f2f5f8";
      pen.font = FONT;
      pen.fillText(track.name, left + 3, above + 11);
    }
    if (!selected) return;
    pen.fillStyle = track.marks[this.frame] ? track.color : "#fff";
    pen.strokeStyle = "#000";
    pen.lineWidth = 1;
    for (let i = 0; i < HANDLES.length; i++) {
      const hx = along(left, width, HANDLES[i][0], HANDLES[i][2]) - (HANDLE >> 1);
      const hy = along(top, height, HANDLES[i][1], HANDLES[i][3]) - (HANDLE >> 1);
      pen.fillRect(hx, hy, HANDLE, HANDLE);
      pen.strokeRect(hx, hy, HANDLE, HANDLE);
    }
  }

  /** The box that is being drawn. */
  #band() {
    const { pen } = this;
    const { scale, x, y } = this.viewport;
    const [left, top, width, height] = this.#preview;
    pen.setLineDash(GHOST);
    pen.lineWidth = 1.5;
    pen.strokeStyle = "#fff";
    pen.strokeRect(left * scale + x, top * scale + y, width * scale, height * scale);
  }

  /** Return the tracks under the pointer, smallest box first. */
  #under({ x, y }) {
    const reach = 3 / this.viewport.scale;
    const at = 4 * this.frame;
    return this.tracks
      .filter(({ has, boxes }) => {
        const [left, top, width, height] = [boxes[at], boxes[at + 1], boxes[at + 2], boxes[at + 3]];
        return has[this.frame] && x > left - reach && y > top - reach && x < left + width + reach && y < top + height + reach;
      })
      .sort((a, b) => a.boxes[at + 2] * a.boxes[at + 3] - b.boxes[at + 2] * b.boxes[at + 3])
      .map(({ id }) => id);
  }

  #handle({ x, y }) {
    const { box } = this;
    if (!box) return null;
    const reach = REACH / this.viewport.scale;
    const [left, top, width, height] = box;
    return HANDLES.find(
      ([l, t, r, b]) => Math.abs(along(left, width, l, r) - x) <= reach && Math.abs(along(top, height, t, b) - y) <= reach,
    );
  }

  #listen() {
    const { host } = this;
    host.addEventListener("pointerdown", (event) => this.#down(event));
    host.addEventListener("pointermove", (event) => this.#move(event));
    host.addEventListener("pointerup", (event) => this.#up(event));
    host.addEventListener("pointercancel", () => this.cancel());
    host.addEventListener("pointerleave", () => this.#hover(null));
    host.addEventListener("auxclick", (event) => event.preventDefault());
    host.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.viewport.zoomAt(event, Math.exp(-event.deltaY * (event.deltaMode === 1 ? 30 : 1) * 0.0015));
    }, { passive: false });
  }

  #down(event) {
    if (event.button > 1) return;
    event.preventDefault();
    this.host.focus({ preventScroll: true });
    this.host.setPointerCapture(event.pointerId);
    const start = this.viewport.toPicture(event);
    const handle = this.#handle(start);
    const under = this.#under(start);
    const kind = event.button === 1 ? "pan" : handle ? "resize" : under.includes(this.selected) ? "move" : "draw";
    this.#press = { kind, start, handle, under, x: event.clientX, y: event.clientY, box: this.box, moved: false };
  }

  #move(event) {
    const press = this.#press;
    const at = this.viewport.toPicture(event);
    if (!press) {
      this.#hover(this.#under(at)[0] ?? null);
      this.host.style.cursor = this.#handle(at)?.[4] ?? "crosshair";
      return;
    }
    if (press.kind === "pan") {
      this.viewport.pan(event.clientX - press.x, event.clientY - press.y);
      [press.x, press.y] = [event.clientX, event.clientY];
      return;
    }
    if (!press.moved && Math.hypot(event.clientX - press.x, event.clientY - press.y) < CLICK) return;
    press.moved = true;
    this.#preview = this.#dragged(press, at);
    this.redraw();
  }

  #dragged({ kind, start, handle, box }, { x, y }) {
    const { width: most, height: high } = this.size;
    const inside = (value, end) => Math.min(Math.max(value, 0), end);
    if (kind === "draw") {
      const [x0, y0, x1, y1] = [inside(start.x, most), inside(start.y, high), inside(x, most), inside(y, high)];
      return [Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0)].map(Math.round);
    }
    const [dx, dy] = [Math.round(x - start.x), Math.round(y - start.y)];
    const [left, top, width, height] = box;
    if (kind === "move") return [inside(left + dx, most - width), inside(top + dy, high - height), width, height];
    const [l, t, r, b] = handle;
    const [x0, y0, x1, y1] = [left + l * dx, top + t * dy, left + width + r * dx, top + height + b * dy];
    const [xs, ys] = [[x0, x1].map((v) => inside(v, most)), [y0, y1].map((v) => inside(v, high))];
    return [Math.min(...xs), Math.min(...ys), Math.max(1, Math.abs(xs[1] - xs[0])), Math.max(1, Math.abs(ys[1] - ys[0]))];
  }

  #up(event) {
    const press = this.#press;
    if (!press) return;
    // After a quick drag, the release is at another place than the last movement.
    this.#move(event);
    const box = this.#preview;
    this.cancel();
    if (press.kind === "pan") return;
    if (!press.moved) {
      // A click on the selected box selects the next box behind it.
      this.#tell("select", press.under[(press.under.indexOf(this.selected) + 1) % press.under.length] ?? null);
    } else if (press.kind !== "draw") this.#tell("place", box);
    else if (box[2] * box[3] >= LEAST_AREA) this.#tell("draw", box);
  }

  /** Give up what is being dragged; return false if nothing is. */
  cancel() {
    const pressed = this.#press !== null;
    [this.#press, this.#preview] = [null, null];
    this.redraw();
    return pressed;
  }

  #hover(id) {
    if (id === this.#hovered) return;
    this.#hovered = id;
    this.redraw();
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
