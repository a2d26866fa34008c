// A frame under review: its boxes, its candidates, and all edits with undo and redo.

// Moves of one box within this time count as one edit: holding an arrow key is one move.
const MERGE_MS = 900;

/** Round a box to whole pixels inside the image, at least one by one. */
export function withinPicture({ left, top, width, height }, size) {
  const x0 = Math.min(Math.max(Math.round(left), 0), size.width - 1);
  const y0 = Math.min(Math.max(Math.round(top), 0), size.height - 1);
  const x1 = Math.min(Math.max(Math.round(left + width), x0 + 1), size.width);
  const y1 = Math.min(Math.max(Math.round(top + height), y0 + 1), size.height);
  return { left: x0, top: y0, width: x1 - x0, height: y1 - y0 };
}

const samePlace = (a, b) => ["left", "top", "width", "height"].every((side) => a[side] === b[side]);
const area = (box) => box.width * box.height;

/**
 * Dispatches `change` whenever boxes or candidates change.
 * `clock` returns the active seconds so far; the time between two edits counts for the later one.
 */
export class Frame extends EventTarget {
  #states;
  #at = 0;
  #clock;
  #carried = {};

  constructor({ size, boxes, candidates, clock }) {
    super();
    this.size = size;
    this.#clock = clock;
    const start = boxes.map((box, i) => ({
      id: `box-${i}`,
      label: String(box.label ?? ""),
      ...withinPicture(box, size),
      uncertainty: box.uncertainty,
      reviewed: false,
      occluded: false,
      truncated: false,
    }));
    const offered = candidates.map((candidate, i) => ({
      id: `candidate-${i}`,
      label: String(candidate.label ?? ""),
      ...withinPicture(candidate, size),
      confidence: candidate.confidence,
      threshold: candidate.threshold,
      // Models find it in a frame that starts from an earlier reviewer's boxes: it is never hidden.
      isNew: candidate.new === true,
    }));
    this.#states = [{ boxes: start, candidates: offered, kind: null, seconds: 0, clock: clock() }];
  }

  /** Offer boxes that were drawn in neighbouring frames as candidates, before the others; this is not an edit. */
  propose(boxes) {
    const made = boxes.map(({ label, ...where }) => {
      const place = withinPicture(where, this.size);
      return { id: `proposed-${label}-${Object.values(place).join("-")}`, label, ...place, proposed: true };
    });
    this.#states = this.#states.map((state) => ({ ...state, candidates: [...made, ...state.candidates] }));
    this.#changed();
  }

  get boxes() {
    return this.#states[this.#at].boxes;
  }

  get candidates() {
    return this.#states[this.#at].candidates;
  }

  get touched() {
    return this.#at > 0;
  }

  box(id) {
    return this.boxes.find((box) => box.id === id);
  }

  candidate(id) {
    return this.candidates.find((candidate) => candidate.id === id);
  }

  /** The boxes in review order: most uncertain first, then smallest first; boxes that a person added come last. */
  get queue() {
    const rank = (box) => (box.id.startsWith("box-") ? 0 : 1);
    return [...this.boxes].sort(
      (a, b) => rank(a) - rank(b) || (b.uncertainty ?? 0) - (a.uncertainty ?? 0) || (rank(a) ? 0 : area(a) - area(b)),
    );
  }

  /** The next unreviewed box after `id` in a queue, which wraps around; the next box if all are reviewed. */
  following(id, boxes, step = 1) {
    const queue = step > 0 ? boxes : [...boxes].reverse();
    const from = queue.findIndex((box) => box.id === id);
    const around = [...queue.slice(from + 1), ...queue.slice(0, from + 1)];
    return around.find((box) => !box.reviewed && box.id !== id) ?? around[0];
  }

  #commit(kind, id, boxes, candidates = this.candidates) {
    const clock = this.#clock();
    const last = this.#states[this.#at];
    const now = performance.now();
    const merged = this.#at > 0 && last.kind === kind && last.id === id && now - last.time < MERGE_MS && kind === "move";
    const seconds = Math.max(clock - last.clock, 0) + (merged ? last.seconds : 0);
    if (merged) this.#at -= 1;
    this.#states.length = this.#at + 1;
    this.#states.push({ boxes, candidates, kind, id, seconds, clock, time: now });
    this.#at += 1;
    this.#changed();
  }

  #replace(kind, id, change) {
    const boxes = this.boxes.map((box) => (box.id === id ? { ...box, reviewed: true, ...change } : box));
    this.#commit(kind, id, boxes);
  }

  accept(id) {
    if (this.box(id) && !this.box(id).reviewed) this.#replace("accept", id, {});
  }

  place(id, where) {
    const place = withinPicture(where, this.size);
    if (this.box(id) && !samePlace(this.box(id), place)) this.#replace("move", id, place);
  }

  relabel(id, label) {
    if (this.box(id) && this.box(id).label !== label) this.#replace("relabel", id, { label });
  }

  /** `flag`: occluded or truncated. */
  toggle(id, flag) {
    if (this.box(id)) this.#replace("mark", id, { [flag]: !this.box(id)[flag] });
  }

  delete(id) {
    if (this.box(id)) this.#commit("delete", id, this.boxes.filter((box) => box.id !== id));
  }

  add(id, label, where) {
    const box = { id, label, ...withinPicture(where, this.size), reviewed: true, occluded: false, truncated: false };
    this.#commit("add", id, [...this.boxes, box]);
  }

  /** Add boxes of another frame, except those that are here already; returns their ids. */
  paste(boxes) {
    const flags = { reviewed: true, occluded: false, truncated: false };
    const made = boxes
      .map(({ label, ...where }) => ({ id: crypto.randomUUID(), label, ...withinPicture(where, this.size), ...flags }))
      .filter((box) => !this.boxes.some((known) => known.label === box.label && samePlace(known, box)));
    made.forEach((box) => this.#commit("add", box.id, [...this.boxes, box]));
    return made.map(({ id }) => id);
  }

  promote(candidateId) {
    const { confidence, threshold, isNew, proposed, ...box } = this.candidate(candidateId);
    const id = `from-${candidateId}`;
    const added = { ...box, id, reviewed: true, occluded: false, truncated: false };
    const rest = this.candidates.filter((candidate) => candidate.id !== candidateId);
    this.#commit("add", id, [...this.boxes, added], rest);
    return id;
  }

  undo() {
    if (this.#at === 0) return false;
    this.#at -= 1;
    this.#changed();
    return true;
  }

  redo() {
    if (this.#at === this.#states.length - 1) return false;
    this.#at += 1;
    this.#changed();
    return true;
  }

  /** The draft of an unfinished frame. */
  get draft() {
    return { boxes: this.boxes, candidates: this.candidates.map((candidate) => candidate.id), edits: this.edits };
  }

  /** Return the draft of a frame that was sent with these boxes and marks: unchanged boxes keep their uncertainty. */
  answered(boxes, marks) {
    const same = (a) => (b) => a.label === b.label && samePlace(a, b);
    const shown = [...this.#states[0].boxes];
    const known = (box) => {
      const at = shown.findIndex(same(box));
      return at < 0 ? {} : shown.splice(at, 1)[0];
    };
    return {
      boxes: boxes.map((box, i) => ({ id: `sent-${i}`, ...known(box), ...box, ...marks[i], reviewed: true })),
      candidates: this.candidates.filter((candidate) => !boxes.some(same(candidate))).map(({ id }) => id),
    };
  }

  /** Continue a draft; a draft of another shape is ignored. An undo restores the original frame. */
  restore(draft) {
    if (!Array.isArray(draft?.boxes) || !Array.isArray(draft.candidates)) return;
    const flag = (value) => value === true;
    const boxes = draft.boxes
      .filter((box) => box && typeof box.id === "string" && ["left", "top", "width", "height"].every((s) => Number.isFinite(box[s])))
      .map((box) => ({
        id: box.id,
        label: String(box.label ?? ""),
        ...withinPicture(box, this.size),
        uncertainty: Number.isFinite(box.uncertainty) ? box.uncertainty : undefined,
        reviewed: flag(box.reviewed),
        occluded: flag(box.occluded),
        truncated: flag(box.truncated),
      }));
    this.#commit("restore", null, boxes, this.candidates.filter((candidate) => draft.candidates.includes(candidate.id)));
    this.#carried = draft.edits && typeof draft.edits === "object" ? draft.edits : {};
  }

  /** Count and active seconds by kind of edit; undone edits do not count. */
  get edits() {
    const edits = {};
    const note = (kind, count, seconds) => {
      const so = edits[kind] ?? { count: 0, seconds: 0 };
      edits[kind] = { count: so.count + count, seconds: Math.round((so.seconds + seconds) * 10) / 10 };
    };
    const states = this.#states.slice(1, this.#at + 1);
    if (states.some((state) => state.kind === "restore")) {
      for (const [kind, effort] of Object.entries(this.#carried)) note(kind, effort?.count ?? 0, effort?.seconds ?? 0);
    }
    for (const { kind, seconds } of states) if (kind !== "restore") note(kind, 1, seconds);
    return edits;
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
