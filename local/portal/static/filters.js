// Which boxes and candidates are shown. Filters hide, and never change the answer.
import { kept } from "./kept.js";

// Candidates from this confidence on are shown at first: missed objects are among them, below is mostly noise.
const LEVEL = 0.35;

const rounded = (value) => Math.round(Math.min(Math.max(value, 0), 1) * 20) / 20;

class Filters {
  // A page load shows all classes and boxes again, so that no box stays hidden unnoticed.
  #classes = new Set();
  #least = 0;
  #level = kept.get("level", LEVEL);

  /** The least confidence of a candidate. */
  get level() {
    return this.#level;
  }

  set level(value) {
    this.#level = rounded(value);
    kept.set("level", this.#level);
  }

  /** The least uncertainty of a box. */
  get least() {
    return this.#least;
  }

  set least(value) {
    this.#least = rounded(value);
  }

  /** Hide a class, or show it again. */
  toggle(label) {
    if (!this.#classes.delete(label)) this.#classes.add(label);
  }

  hidesClass(label) {
    return this.#classes.has(label);
  }

  /** Tell whether a box or candidate is shown. Boxes that a person added have no uncertainty; `least` spares them. */
  shows({ label, uncertainty, confidence, isNew }) {
    if (isNew) return true;
    const wanted = confidence === undefined ? (uncertainty ?? 1) >= this.#least : confidence >= this.#level - 1e-9;
    return wanted && !this.#classes.has(label);
  }
}

export const filters = new Filters();
