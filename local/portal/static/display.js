// How the image and its boxes look: brightness and opacity, which this browser remembers.
import { kept } from "./kept.js";

const RANGES = { gamma: [0.4, 3], opacity: [0.1, 1] };

export class Display {
  gamma = kept.get("gamma", 1);
  opacity = kept.get("opacity", 1);

  /** `root`: the element with the image and its boxes. */
  constructor(root) {
    this.root = root;
    this.#apply();
  }

  /** Set the gamma or the opacity as far as its range goes; returns what it became. */
  set(name, value) {
    const [least, most] = RANGES[name];
    this[name] = Math.round(Math.min(Math.max(value, least), most) * 10) / 10;
    kept.set(name, this[name]);
    this.#apply();
    return this[name];
  }

  #apply() {
    this.root.style.setProperty("--opacity", this.opacity);
    this.root.querySelector(".portal-filter")?.remove();
    this.root.classList.toggle("portal-brightened", this.gamma !== 1);
    if (this.gamma === 1) return;
    const channels = ["R", "G", "B"].map((c) => `<feFunc${c} type="gamma" exponent="${(1 / this.gamma).toFixed(3)}"/>`);
    const filter = document.createElement("div");
    filter.className = "portal-filter";
    filter.innerHTML = `<svg width="0" height="0" aria-hidden="true"><filter id="portal-gamma" color-interpolation-filters="sRGB"><feComponentTransfer>${channels.join("")}</feComponentTransfer></filter></svg>`;
    this.root.append(filter);
  }
}
