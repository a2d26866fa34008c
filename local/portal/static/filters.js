// Which boxes and candidates are shown. Filters hide, and never change the answer.
import { kept } from "./kept.js";

// Candidates from this share of their threshold on are shown at first: missed objects are among them, and below is
// mostly noise.
const LEVEL = 0.5;
// The threshold of candidates that do not tell theirs.
const THRESHOLD = 0.35;

const rounded = (value) => Math.round(Math.min(Math.max(value, 0), 1) * 20) / 20;

const share = ({ confidence, threshold }) => confidence / (threshold || THRESHOLD);

class Filters {
  // A page load shows all classes and boxes again, so that no box stays hidden unnoticed.
  #classes = new Set();
  #least = 0;
  #level = kept.get("candidates", LEVEL);

  /** The least confidence of a candidate, as a share of its threshold. */
  get level() {
    return this.#level;
  }

  set level(value) {
    this.#level = rounded(value);
    kept.set("candidates", this.#level);
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
  shows(item) {
    if (item.isNew) return true;
    if (this.#classes.has(item.label)) return false;
    if (item.proposed) return true;
    return item.confidence === undefined ? (item.uncertainty ?? 1) >= this.#least : share(item) >= this.#level - 1e-9;
  }

  /** Lower the level until it shows a candidate. */
  reveal(candidate) {
    this.level = Math.floor(share(candidate) * 20) / 20;
  }
}

export const filters = new Filters();
