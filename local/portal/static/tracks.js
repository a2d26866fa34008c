// The tracks of a strip under review: their boxes in every frame, all edits, and the way back. It knows no page.
//
// An edit follows the track. A key frame is a frame whose box the reviewer set or confirmed. Its offset is the distance
// of its sides from the model's box, in shares of that box's width and height, so that it grows with an object that
// comes nearer. Between two key frames the offset changes linearly; before the first and after the last one it stays.
// So the model's motion is kept, and one correction reaches as far as the next frame that the reviewer confirmed.

/** How a frame of a track has its box: none, one of the model, or one that a person's edit filled in. */
export const [NONE, MODEL, FILLED] = [0, 1, 2];

// Frames from which an extended track takes its speed.
const SPEED_FRAMES = 5;
// The least IoU of a candidate with the box between two drawn ones: of the object's own class, and of another one, which
// may be a neighbour, such as a bicycle and its rider.
const [FITS, FITS_BETTER] = [0.5, 0.7];

const mix = (a, b, share) => a + (b - a) * share;
const sidesOf = (boxes, frame) => Array.from(boxes.subarray(4 * frame, 4 * frame + 4));

/** Round a box to whole pixels inside the image, at least one by one. */
function within([left, top, width, height], size) {
  const x0 = Math.min(Math.max(Math.round(left), 0), size.width - 1);
  const y0 = Math.min(Math.max(Math.round(top), 0), size.height - 1);
  const x1 = Math.min(Math.max(Math.round(left + width), x0 + 1), size.width);
  const y1 = Math.min(Math.max(Math.round(top + height), y0 + 1), size.height);
  return [x0, y0, x1 - x0, y1 - y0];
}

/** Return the next free name of a class, as Ground Truth makes them: car:1, car:2. */
function nextName(tracks, label) {
  const own = tracks.map(({ name }) => name).filter((name) => name.startsWith(`${label}:`));
  return `${label}:${1 + Math.max(0, ...own.map((name) => Number.parseInt(name.slice(label.length + 1), 10) || 0))}`;
}

/** The intersection over union of two boxes. */
function iou([ax, ay, aw, ah], [bx, by, bw, bh]) {
  const both = Math.max(0, Math.min(ax + aw, bx + bw) - Math.max(ax, bx)) * Math.max(0, Math.min(ay + ah, by + bh) - Math.max(ay, by));
  return both / (aw * ah + bw * bh - both) || 0;
}

/** The candidate of a frame that fits a box best; null if none does. */
function fitting(candidates, label, box) {
  let [best, most] = [null, 0];
  for (const one of candidates) {
    const fit = iou(one.box, box);
    if (fit > most && fit >= (one.label === label ? FITS : FITS_BETTER)) [best, most] = [one.box, fit];
  }
  return best;
}

/** Fill the frames between two with boxes on the straight way from one to the other. */
function fillBetween(track, from, first, to, last) {
  for (let frame = from + 1; frame < to; frame++) {
    const share = (frame - from) / (to - from);
    for (let side = 0; side < 4; side++) track.base[4 * frame + side] = mix(first[side], last[side], share);
    track.has[frame] = FILLED;
  }
}

/** Fill the frames between two with candidates that fit the straight way, and with boxes between these. */
function fillAlong(track, candidates, from, first, to, last) {
  fillBetween(track, from, first, to, last);
  let [before, start] = [from, first];
  for (let frame = from + 1; frame < to; frame++) {
    const found = fitting(candidates[frame], track.label, sidesOf(track.base, frame));
    if (found === null) continue;
    fillBetween(track, before, start, frame, found);
    track.base.set(found, 4 * frame);
    track.has[frame] = MODEL;
    [before, start] = [frame, found];
  }
  fillBetween(track, before, start, to, last);
}

/**
 * One object. Arrays by frame: `has` (NONE, MODEL, FILLED), `base` and `boxes` (left, top, width, height in pixels,
 * before and after the reviewer's edits), `uncertainty` (NaN without one), `attributes`, `marks` (1 for key frames).
 * `keys`: the key frames in order, each with its box. A track does not change; an edit makes another one.
 */
class Track {
  constructor(count) {
    this.has = new Uint8Array(count);
    this.base = new Float64Array(4 * count);
    this.boxes = new Int32Array(4 * count);
    this.uncertainty = new Float32Array(count).fill(NaN);
    this.attributes = new Array(count);
    this.marks = new Uint8Array(count);
    this.keys = [];
    this.drawn = false;
    this.accepted = false;
  }

  get first() {
    return this.has.findIndex(Boolean);
  }

  get last() {
    return this.has.findLastIndex(Boolean);
  }

  /** Return a copy whose frames can be changed. */
  copy(changes = {}) {
    const made = Object.assign(new Track(0), this, changes);
    for (const name of ["has", "base", "boxes", "uncertainty", "attributes"]) made[name] = this[name].slice();
    made.keys = [...(changes.keys ?? this.keys)];
    return made;
  }

  /** Set the key frame of a frame that has a box; `offset`: of a box that stays where the key frames around put it. */
  setKey(frame, box, offset = this.#offsetOf(frame, box)) {
    if (!this.has[frame]) throw new Error(`${this.name} has no box in frame ${frame + 1}`);
    this.keys = [...this.keys.filter((key) => key.frame !== frame), { frame, box, offset }].sort((a, b) => a.frame - b.frame);
  }

  /** Confirm the box of a frame as it is: no box changes. */
  confirm(frame) {
    this.setKey(frame, sidesOf(this.boxes, frame), this.keys.length ? this.#offsetAt(frame) : undefined);
  }

  /** Let the boxes as they are be those from which further edits start. */
  pin() {
    this.base.set(this.boxes);
    this.keys = this.keys.map((key) => ({ ...key, offset: [0, 0, 0, 0] }));
  }

  /** The distance of a box's sides (left, top, right, bottom) from the model's box. */
  #offsetOf(frame, [x, y, w, h]) {
    const [left, top, width, height] = sidesOf(this.base, frame);
    return [(x - left) / width, (y - top) / height, (x + w - left - width) / width, (y + h - top - height) / height];
  }

  /** The offset that the key frames give to a frame. */
  #offsetAt(frame) {
    const after = this.keys.findIndex((key) => key.frame >= frame);
    const [a, b] = after < 0 ? [this.keys.at(-1)] : [this.keys[after - 1], this.keys[after]];
    if (!a || !b) return (a ?? b).offset;
    return a.offset.map((value, side) => mix(value, b.offset[side], (frame - a.frame) / (b.frame - a.frame)));
  }

  /** Leave out the frames for which `keep` is false. */
  clear(keep) {
    for (let frame = 0; frame < this.has.length; frame++) {
      if (keep(frame)) continue;
      this.has[frame] = NONE;
      this.uncertainty[frame] = NaN;
      this.attributes[frame] = undefined;
    }
    this.keys = this.keys.filter(({ frame }) => this.has[frame]);
  }

  /** Work out the boxes from the model's and the key frames. */
  follow(size) {
    this.marks = new Uint8Array(this.has.length);
    for (let frame = 0; frame < this.has.length; frame++) {
      if (!this.has[frame]) continue;
      const [left, top, width, height] = sidesOf(this.base, frame);
      const [x0, y0, x1, y1] = this.keys.length ? this.#offsetAt(frame) : [0, 0, 0, 0];
      const box = [left + x0 * width, top + y0 * height, width * (1 + x1 - x0), height * (1 + y1 - y0)];
      this.boxes.set(within(box, size), 4 * frame);
    }
    for (const { frame, box } of this.keys) {
      this.marks[frame] = 1;
      this.boxes.set(box, 4 * frame);
    }
    return this;
  }
}

/** The changes of each kind of edit: (strip's tracks, tools, arguments) → tracks. */
const EDITS = {
  /** Put the box of a frame where the reviewer wants it. */
  place: (tracks, { edit, size }, id, frame, box) =>
    edit(tracks, id, (track) => track.setKey(frame, within(box, size))),
  /** Confirm the box of a frame as it is. */
  key: (tracks, { edit }, id, frame) => edit(tracks, id, (track) => track.confirm(frame)),
  unkey: (tracks, { edit }, id, frame) =>
    edit(tracks, id, (track) => {
      track.keys = track.keys.filter((key) => key.frame !== frame);
    }),
  /** Confirm the model's own box of a frame. */
  revert: (tracks, { edit, size }, id, frame) =>
    edit(tracks, id, (track) => track.setKey(frame, within(sidesOf(track.base, frame), size))),
  /** Leave out the box of one frame. */
  hide: (tracks, { edit }, id, frame) => edit(tracks, id, (track) => track.clear((other) => other !== frame)),
  rename: (tracks, { edit }, id, label) =>
    edit(tracks, id, (track) => Object.assign(track, { label, name: nextName(tracks, label) })),
  delete: (tracks, tools, id) => tracks.filter((track) => track.id !== id),
  /** Begin, or end, the track at a frame: shorten it, or extend it at its speed. */
  start: (tracks, tools, id, frame) => bound(tracks, tools, id, frame, -1),
  end: (tracks, tools, id, frame) => bound(tracks, tools, id, frame, 1),
  /** Give the boxes from a frame on to a new track. */
  split: (tracks, { size, next }, id, frame, object) =>
    tracks.flatMap((track) => {
      if (track.id !== id) return [track];
      if (!(track.first < frame && frame <= track.last)) throw new Error(`${track.name} cannot be split at frame ${frame + 1}`);
      const name = nextName(tracks, track.label);
      const [head, tail] = [track.copy({ accepted: false }), track.copy({ accepted: false, id: next, object, name })];
      // The parts keep their boxes, also where a correction reaches over the border.
      for (const part of [head, tail]) part.pin();
      head.clear((at) => at < frame);
      tail.clear((at) => at >= frame);
      return [head.follow(size), tail.follow(size)];
    }),
  /** Make one track of two: where both have a box, the first one's counts; a gap between them is filled. */
  merge: (tracks, { edit }, id, other) => {
    const given = tracks.find((track) => track.id === other);
    const joined = edit(tracks, id, (track) => {
      // What stands on the page is joined, so the edits of both parts stay.
      const own = track.has.slice();
      track.pin();
      for (let frame = 0; frame < own.length; frame++) {
        if (own[frame] || !given.has[frame]) continue;
        track.has[frame] = given.has[frame];
        track.base.set(given.boxes.subarray(4 * frame, 4 * frame + 4), 4 * frame);
        track.uncertainty[frame] = given.uncertainty[frame];
        track.attributes[frame] = given.attributes[frame];
      }
      for (const key of given.keys) if (!own[key.frame]) track.setKey(key.frame, key.box);
      let before = -1;
      for (let frame = 0; frame < own.length; frame++) {
        if (!track.has[frame]) continue;
        const joint = before >= 0 && frame > before + 1 && Boolean(own[before]) !== Boolean(own[frame]);
        if (joint) fillBetween(track, before, sidesOf(track.base, before), frame, sidesOf(track.base, frame));
        before = frame;
      }
    });
    return joined.filter((track) => track.id !== other);
  },
  /** A new object, with its box in one frame. */
  draw: (tracks, { size, count, next }, object, label, frame, box) => {
    const track = Object.assign(new Track(count), { id: next, object, label, name: nextName(tracks, label), drawn: true });
    track.has[frame] = FILLED;
    track.base.set(within(box, size), 4 * frame);
    track.setKey(frame, within(box, size));
    return [...tracks, track.follow(size)];
  },
  /** Draw a track's box in a frame where it has none: the frames up to its nearest box are filled, along candidates. */
  reach: (tracks, { edit, size, candidates }, id, frame, box) =>
    edit(tracks, id, (track) => {
      const given = within(box, size);
      track.pin();
      const before = track.has.findLastIndex((has, at) => has && at < frame);
      const after = track.has.findIndex((has, at) => has && at > frame);
      if (before >= 0) fillAlong(track, candidates, before, sidesOf(track.base, before), frame, given);
      // A track goes on without a gap; inside one, both sides of the frame are filled.
      if (after >= 0) fillAlong(track, candidates, frame, given, after, sidesOf(track.base, after));
      for (const at of [before, after]) if (at >= 0) track.setKey(at, sidesOf(track.base, at));
      track.has[frame] = FILLED;
      track.base.set(given, 4 * frame);
      track.setKey(frame, given);
    }),
  accept: (tracks, tools, id, accepted) =>
    tracks.map((track) => (track.id === id ? Object.assign(track.copy(), { accepted }) : track)),
};

/** Begin (side −1) or end (side 1) a track at a frame. */
function bound(tracks, { edit }, id, frame, side) {
  return edit(tracks, id, (track) => {
    const edge = side > 0 ? track.last : track.first;
    if ((frame - edge) * side <= 0) {
      track.clear((at) => (frame - at) * side >= 0);
      if (!track.has.some(Boolean)) throw new Error(`${track.name} has no box left`);
      return;
    }
    // The reviewer will correct the new end: what is there already must not move with it.
    track.confirm(edge);
    const inner = Math.min(Math.max(edge - side * (SPEED_FRAMES - 1), track.first), track.last);
    const from = track.has[inner] ? inner : edge;
    const [there, here] = [sidesOf(track.base, from), sidesOf(track.base, edge)];
    const steps = Math.abs(edge - from) || 1;
    for (let at = edge + side; at !== frame + side; at += side) {
      const [left, top, width, height] = here.map((value, i) => value + ((value - there[i]) * Math.abs(at - edge)) / steps);
      track.base.set([left, top, Math.max(width, 1), Math.max(height, 1)], 4 * at);
      track.has[at] = FILLED;
    }
  });
}

// The uncertain places of tracks, which do not change, by level.
const PLACES = new WeakMap();

function placesOf(track, level) {
  const known = PLACES.get(track);
  if (known?.level === level) return known.found;
  const found = [];
  let worst = -1;
  let settled = track.accepted;
  for (let frame = 0; frame <= track.has.length; frame++) {
    if (track.uncertainty[frame] >= level) {
      if (worst < 0 || track.uncertainty[frame] > track.uncertainty[worst]) worst = frame;
      settled ||= track.marks[frame] === 1;
    } else {
      // The reviewer has been where they set a key frame.
      if (worst >= 0 && !settled) found.push({ id: track.id, frame: worst });
      [worst, settled] = [-1, track.accepted];
    }
  }
  PLACES.set(track, { level, found });
  return found;
}

/** Read tracks as the portal tells them: id, name, label, boxes of [frame, left, top, width, height, attributes]. */
function readTracks(given, count, size) {
  return given.map(({ id: object, name, label, boxes }, id) => {
    const track = Object.assign(new Track(count), { id, object, name, label });
    for (const [frame, left, top, width, height, attributes] of boxes) {
      track.has[frame] = MODEL;
      track.base.set([left, top, width, height], 4 * frame);
      track.attributes[frame] = attributes;
      const level = Number.parseFloat(attributes?.uncertainty);
      if (level >= 0) track.uncertainty[frame] = Math.min(level, 1);
    }
    return track.follow(size);
  });
}

/** Read candidates, told as tracks are, by their frame: each its label and box. */
function readCandidates(given, count) {
  const found = Array.from({ length: count }, () => []);
  for (const { label, boxes } of given) for (const [frame, ...box] of boxes) found[frame].push({ label, box: box.slice(0, 4) });
  return found;
}

export class Strip {
  #candidates;
  #states;
  #at = 0;
  #clock;

  /**
   * `frames`: their number; `size`: of the image, in pixels; `tracks`, `candidates`: as the portal tells them.
   * `clock` returns the active seconds so far; the time between two edits counts for the later one.
   */
  constructor({ frames, size, tracks, candidates = [], clock = () => 0 }) {
    this.frames = frames;
    this.#candidates = readCandidates(candidates, frames);
    this.size = size;
    this.#clock = clock;
    const read = readTracks(tracks, frames, size);
    this.#states = [{ tracks: read, edit: null, next: read.length, seconds: 0, clock: clock() }];
  }

  get tracks() {
    return this.#states[this.#at].tracks;
  }

  track(id) {
    return this.tracks.find((track) => track.id === id);
  }

  /** The edits that count, in order: a draft of them makes the same tracks again. */
  get edits() {
    return this.#states.slice(1, this.#at + 1).map(({ edit }) => edit);
  }

  /** Number and seconds of the edits that count, by kind. */
  get efforts() {
    const made = {};
    for (const { edit, seconds } of this.#states.slice(1, this.#at + 1)) {
      const effort = (made[edit[0]] ??= { count: 0, seconds: 0 });
      effort.count += 1;
      effort.seconds = Math.round(10 * (effort.seconds + seconds)) / 10;
    }
    return made;
  }

  /** Make an edit: its kind, then its arguments. `again`: in place of the last edit if that was of the same box. */
  edit(kind, ...rest) {
    return this.#make([kind, ...rest], false);
  }

  /** As `edit`, in the place of the last edit if that put the same box. */
  again(...edit) {
    const last = this.#states[this.#at].edit;
    return this.#make(edit, last !== null && [0, 1, 2].every((i) => last[i] === edit[i]));
  }

  #make(edit, instead) {
    const before = this.#states[this.#at];
    const at = instead ? this.#at - 1 : this.#at;
    const { tracks, next } = this.#states[at];
    const tools = {
      size: this.size,
      count: this.frames,
      candidates: this.#candidates,
      next,
      edit: (all, id, change) => {
        if (!all.some((track) => track.id === id)) throw new Error(`there is no track ${id}`);
        return all.map((track) => {
          if (track.id !== id) return track;
          const made = track.copy({ accepted: false });
          change(made);
          return made.follow(this.size);
        });
      },
    };
    const [kind, ...rest] = edit;
    // A track without a box is none.
    const made = EDITS[kind](tracks, tools, ...rest).filter((track) => track.has.some(Boolean));
    const clock = this.#clock();
    const seconds = Math.max(clock - before.clock, 0) + (instead ? before.seconds : 0);
    this.#states.length = at + 1;
    this.#states.push({ tracks: made, edit, next: next + 1, seconds, clock });
    this.#at = at + 1;
    return next;
  }

  undo() {
    if (this.#at === 0) return false;
    this.#at -= 1;
    return true;
  }

  redo() {
    if (this.#at + 1 === this.#states.length) return false;
    this.#at += 1;
    return true;
  }

  /** The uncertain places in the order of their frames: of each run of boxes at or above the level, its worst frame. */
  places(level) {
    return this.tracks.flatMap((track) => placesOf(track, level)).sort((a, b) => a.frame - b.frame || a.id - b.id);
  }

  /** The number of the uncertain places. */
  count(level) {
    return this.tracks.reduce((sum, track) => sum + placesOf(track, level).length, 0);
  }

  /** The place after (step 1) or before (−1) a track's frame, around the ends; null without any. */
  place(level, { frame, id = -1 }, step) {
    const places = this.places(level);
    const beyond = (place) => (place.frame - frame || place.id - id) * step > 0;
    return (step > 0 ? places.find(beyond) : places.findLast(beyond)) ?? places.at(step > 0 ? 0 : -1) ?? null;
  }

  /**
   * The track that a track most likely goes on as, or begins as: the nearest one over the smallest gap; or null.
   * `most`: the cost of the last one that counts: a box's diagonal of distance, ten frames, or another class cost 1.
   */
  continuation(id, most = Infinity) {
    const track = this.track(id);
    let best = null;
    let least = most;
    for (const other of this.tracks) {
      if (other.id === id) continue;
      const after = other.first > track.last;
      const gap = after ? other.first - track.last : track.first - other.last;
      if (gap <= 0) continue;
      const [mine, theirs] = after ? [track.last, other.first] : [track.first, other.last];
      const [a, b] = [sidesOf(track.boxes, mine), sidesOf(other.boxes, theirs)];
      const away = Math.hypot(a[0] + a[2] / 2 - b[0] - b[2] / 2, a[1] + a[3] / 2 - b[1] - b[3] / 2) / Math.hypot(a[2], a[3]);
      const cost = away + gap / 10 + (other.label === track.label ? 0 : 1);
      if (cost < least) [best, least] = [other.id, cost];
    }
    return best;
  }

  /** The tracks as the portal takes them. */
  get answer() {
    return this.tracks.map((track) => {
      const boxes = [];
      for (let frame = 0; frame < this.frames; frame++) {
        if (!track.has[frame]) continue;
        const box = [frame, ...sidesOf(track.boxes, frame)];
        if (track.attributes[frame]) box.push(track.attributes[frame]);
        boxes.push(box);
      }
      return { id: track.object, name: track.name, label: track.label, boxes };
    });
  }
}
