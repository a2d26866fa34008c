// A frame under review: its boxes, the candidates beside them, and every edit with the way back.

// Edits of one kind at one box within this time are one: holding an arrow key is one move.
const MERGE_MS = 900;

/** A box in whole pixels, inside the picture, at least one by one. */
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
 * `change` is dispatched whenever boxes or ghosts are others than before.
 * `clock` tells the active seconds so far; what passes between two edits is the later one's.
 */
export class Frame extends EventTarget {
  #states;
  #at = 0;
  #clock;
  #carried = {};

  constructor({ size, boxes, ghosts, clock }) {
    super();
    this.size = size;
    this.#clock = clock;
    const start = boxes.map((box, i) => ({
      id: `box-${i}`,
      label: String(box.label ?? ""),
      ...withinPicture(box, size),
      doubt: box.doubt,
      reviewed: false,
      occluded: false,
      truncated: false,
    }));
    const candidates = ghosts.map((ghost, i) => ({
      id: `ghost-${i}`,
      label: String(ghost.label ?? ""),
      ...withinPicture(ghost, size),
      confidence: ghost.confidence,
    }));
    this.#states = [{ boxes: start, ghosts: candidates, kind: null, seconds: 0, clock: clock() }];
  }

  get boxes() {
    return this.#states[this.#at].boxes;
  }

  get ghosts() {
    return this.#states[this.#at].ghosts;
  }

  get touched() {
    return this.#at > 0;
  }

  box(id) {
    return this.boxes.find((box) => box.id === id);
  }

  ghost(id) {
    return this.ghosts.find((ghost) => ghost.id === id);
  }

  /** Most doubtful first; without doubts the smallest; what a person added comes last. */
  get queue() {
    const rank = (box) => (box.id.startsWith("box-") ? 0 : 1);
    return [...this.boxes].sort(
      (a, b) => rank(a) - rank(b) || (b.doubt ?? 0) - (a.doubt ?? 0) || (rank(a) ? 0 : area(a) - area(b)),
    );
  }

  /** The unreviewed box after `id` in the queue, around its end; any next one when all are reviewed. */
  following(id, step = 1) {
    const queue = step > 0 ? this.queue : this.queue.reverse();
    const from = queue.findIndex((box) => box.id === id);
    const around = [...queue.slice(from + 1), ...queue.slice(0, from + 1)];
    return around.find((box) => !box.reviewed && box.id !== id) ?? around[0];
  }

  #commit(kind, id, boxes, ghosts = this.ghosts) {
    const clock = this.#clock();
    const last = this.#states[this.#at];
    const now = performance.now();
    const merged = this.#at > 0 && last.kind === kind && last.id === id && now - last.time < MERGE_MS && kind === "move";
    const seconds = Math.max(clock - last.clock, 0) + (merged ? last.seconds : 0);
    if (merged) this.#at -= 1;
    this.#states.length = this.#at + 1;
    this.#states.push({ boxes, ghosts, kind, id, seconds, clock, time: now });
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

  promote(ghostId) {
    const { confidence, ...box } = this.ghost(ghostId);
    const id = `from-${ghostId}`;
    const added = { ...box, id, reviewed: true, occluded: false, truncated: false };
    this.#commit("add", id, [...this.boxes, added], this.ghosts.filter((ghost) => ghost.id !== ghostId));
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

  /** What is kept of an unfinished frame. */
  get draft() {
    return { boxes: this.boxes, ghosts: this.ghosts.map((ghost) => ghost.id), edits: this.edits };
  }

  /** Go on from a draft; one of another shape is left alone. Undone, it gives the frame as it came. */
  restore(draft) {
    if (!Array.isArray(draft?.boxes) || !Array.isArray(draft.ghosts)) return;
    const flag = (value) => value === true;
    const boxes = draft.boxes
      .filter((box) => box && typeof box.id === "string" && ["left", "top", "width", "height"].every((s) => Number.isFinite(box[s])))
      .map((box) => ({
        id: box.id,
        label: String(box.label ?? ""),
        ...withinPicture(box, this.size),
        doubt: Number.isFinite(box.doubt) ? box.doubt : undefined,
        reviewed: flag(box.reviewed),
        occluded: flag(box.occluded),
        truncated: flag(box.truncated),
      }));
    this.#commit("restore", null, boxes, this.ghosts.filter((ghost) => draft.ghosts.includes(ghost.id)));
    this.#carried = draft.edits && typeof draft.edits === "object" ? draft.edits : {};
  }

  /** Count and active seconds by kind of edit; what was undone does not count. */
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
