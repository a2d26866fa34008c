// The image's place in its window: fit, zoom at a point, pan, glide to a box.

const GLIDE_MS = 110;
const CLOSEST = 16;
// A box under review takes this share of the window, so that its surroundings are visible too.
const SHARE = 0.3;
const MARGIN = 0.02;

export class Viewport {
  scale = 1;
  x = 0;
  y = 0;
  #glide = 0;
  #fitted = true;
  #room = { width: 0, height: 0 };

  /** Calls `apply` with this viewport after every change; `window`: the element that shows the image. */
  constructor(window, size, apply) {
    this.window = window;
    this.size = size;
    this.apply = apply;
    this.watch = new ResizeObserver(() => this.#resized());
    this.watch.observe(window);
    this.#room = { width: window.clientWidth, height: window.clientHeight };
    this.fit(false);
  }

  stop() {
    this.watch.disconnect();
    cancelAnimationFrame(this.#glide);
  }

  /** Whether the whole image is shown, as large as the window lets it. */
  get fitted() {
    return this.#fitted;
  }

  get whole() {
    const { clientWidth, clientHeight } = this.window;
    return Math.min(clientWidth / this.size.width, clientHeight / this.size.height) || 1;
  }

  /** Return a pointer's place in pixels of the image. */
  toPicture(event) {
    const { left, top } = this.window.getBoundingClientRect();
    return { x: (event.clientX - left - this.x) / this.scale, y: (event.clientY - top - this.y) / this.scale };
  }

  fit(smooth = true) {
    this.#fitted = true;
    const scale = this.whole;
    const { clientWidth, clientHeight } = this.window;
    this.#go(scale, (clientWidth - this.size.width * scale) / 2, (clientHeight - this.size.height * scale) / 2, smooth);
  }

  zoomAt(event, factor) {
    const { left, top } = this.window.getBoundingClientRect();
    const at = { x: event.clientX - left, y: event.clientY - top };
    const scale = Math.min(Math.max(this.scale * factor, this.whole), CLOSEST);
    const ratio = scale / this.scale;
    cancelAnimationFrame(this.#glide);
    this.#fitted = scale === this.whole;
    this.#move(scale, at.x - (at.x - this.x) * ratio, at.y - (at.y - this.y) * ratio);
  }

  pan(dx, dy) {
    this.#fitted = false;
    cancelAnimationFrame(this.#glide);
    this.#move(this.scale, this.x + dx, this.y + dy);
  }

  /** Centre a box and zoom in enough to judge its edges. */
  show(box) {
    this.#fitted = false;
    const { clientWidth, clientHeight } = this.window;
    const wanted = SHARE * Math.min(clientWidth / box.width, clientHeight / box.height);
    const scale = Math.min(Math.max(wanted, this.whole), Math.max(this.whole, CLOSEST / 2));
    const x = clientWidth / 2 - (box.left + box.width / 2) * scale;
    const y = clientHeight / 2 - (box.top + box.height / 2) * scale;
    this.#go(scale, ...this.#held(scale, x, y), true);
  }

  /** Keep the centre of the window in its place. */
  #resized() {
    const { clientWidth: width, clientHeight: height } = this.window;
    const [dx, dy] = [(width - this.#room.width) / 2, (height - this.#room.height) / 2];
    this.#room = { width, height };
    if (this.#fitted) this.fit(false);
    else this.#move(Math.max(this.scale, this.whole), this.x + dx, this.y + dy);
  }

  #go(scale, x, y, smooth) {
    cancelAnimationFrame(this.#glide);
    if (!smooth || matchMedia("(prefers-reduced-motion: reduce)").matches) return this.#move(scale, x, y);
    const from = { scale: this.scale, x: this.x, y: this.y };
    const begun = performance.now();
    const step = (now) => {
      const t = Math.min(Math.max((now - begun) / GLIDE_MS, 0), 1);
      const eased = 1 - (1 - t) ** 3;
      const mix = (a, b) => a + (b - a) * eased;
      this.#move(mix(from.scale, scale), mix(from.x, x), mix(from.y, y), t < 1);
      if (t < 1) this.#glide = requestAnimationFrame(step);
    };
    this.#glide = requestAnimationFrame(step);
    return undefined;
  }

  #move(scale, x, y, gliding = false) {
    this.scale = scale;
    [this.x, this.y] = gliding ? [x, y] : this.#held(scale, x, y);
    this.apply(this, gliding);
  }

  /** Keep the image in the window: centred along a side where it is smaller, without a gap where it is larger. */
  #held(scale, x, y) {
    const hold = (at, length, room) => {
      if (length <= room) return (room - length) / 2;
      const slack = room * MARGIN;
      return Math.min(Math.max(at, room - length - slack), slack);
    };
    const { clientWidth, clientHeight } = this.window;
    return [hold(x, this.size.width * scale, clientWidth), hold(y, this.size.height * scale, clientHeight)];
  }
}
