// The page of a strip: one camera's frames with the tracks of their objects, from the first look to the answer.
import { Display } from "./display.js";
import { Film } from "./film.js";
import { openFrames } from "./frame-list.js";
import { parsed } from "./form.js";
import { kept } from "./kept.js";
import { Lanes } from "./lanes.js";
import { askWhy, digitOf, element, keyTable, openDialog } from "./panel.js";
import { notice, post, saveDraft } from "./sending.js";
import { commandOf, keyRows } from "./sequence-keys.js";
import { StripPicture } from "./strip-picture.js";
import { FILLED, MODEL, Strip } from "./tracks.js";

const DRAFT_MS = 600;
// Frames in a second where the sequence tells no times, and the least and most of those that it tells.
const USUAL_RATE = 10;
const RATES = [1, 60];
const SPEEDS = [0.25, 0.5, 1, 2, 4];
// A longer pause between two signs of work is not work.
const IDLE_MS = 30_000;
// A merge is proposed unasked below this cost.
const LIKELY = 1;
// Of the next strip, this many images are fetched ahead.
const AHEAD = 24;
const LAYOUT = `
  <div class="portal-picture" tabindex="0" role="application" aria-label="Picture with the boxes of tracks; press ? for keys"></div>
  <div class="strip-lanes" aria-hidden="true"></div>
  <p class="portal-hint" role="status"></p>
  <aside class="portal-panel" aria-label="Review">
    <header>
      <div class="portal-progress" role="progressbar" aria-label="Strips done" aria-valuemin="0"><i></i></div>
      <p class="portal-count"></p>
      <p class="portal-place">…</p>
    </header>
    <section class="strip-track" aria-label="Selected track" aria-live="polite"></section>
    <section class="portal-classes" aria-label="Classes"><ol></ol></section>
    <section class="portal-sliders">
      <label>Uncertain ≥<input type="range" class="strip-level" min="0.05" max="1" step="0.05"><output></output></label>
      <label>Brightness<input type="range" class="strip-gamma" min="0.4" max="3" step="0.1"><output></output></label>
    </section>
    <footer>
      <button type="button" data-do="play">Play <kbd>Space</kbd></button>
      <button type="button" data-do="walk">Next <kbd>Tab</kbd></button>
      <button type="button" data-do="accept">Accept <kbd>A</kbd></button>
      <button type="button" data-do="unsure">Unsure <kbd>U</kbd></button>
      <button type="button" data-do="undo">Undo <kbd>Ctrl Z</kbd></button>
      <button type="button" data-do="strips">Strips <kbd>L</kbd></button>
      <button type="button" data-do="help">Keys <kbd>?</kbd></button>
      <button type="button" data-do="instructions">Instructions</button>
      <button type="button" data-do="send" class="portal-send">Send <kbd>Enter</kbd></button>
    </footer>
  </aside>`;
const HINT = "Space play   Tab next uncertain   drag correct   A accept   1–0 class   S split   M merge   [ ] ends   Del delete   Enter send   ? keys";

const url = location.pathname.replace(/\/$/u, "");

async function read(address) {
  const response = await fetch(address, { headers: { accept: "application/json" } });
  const document = await response.json();
  if (!response.ok) throw new Error(document.error ?? `${address}: ${response.status}`);
  return document;
}

const asDocument = (text) => new DOMParser().parseFromString(text, "text/html");

/** Return the frames in a second that a sequence's own times say. */
function rateOf(frames) {
  const times = frames.map(({ time }) => time).filter((time) => time !== null);
  if (times.every(Number.isInteger)) {
    // Whole seconds, as the guide has them: frames of one second differ in nothing, so only the whole strip tells.
    const span = times.at(-1) - times[0];
    return span > 0 ? Math.min(Math.max((times.length - 1) / span, RATES[0]), RATES[1]) : USUAL_RATE;
  }
  const gaps = frames.slice(1).map(({ time }, i) => time - frames[i].time).filter((gap) => gap > 0);
  const middle = gaps.sort((a, b) => a - b)[Math.floor(gaps.length / 2)];
  return middle ? Math.min(Math.max(1 / middle, RATES[0]), RATES[1]) : USUAL_RATE;
}

/** The reviewer's active seconds, keys and clicks. */
class Work {
  seconds = 0;
  keys = 0;
  clicks = 0;
  #last = performance.now();

  constructor() {
    const seen = () => this.now();
    for (const type of ["keydown", "pointerdown", "pointermove", "wheel"]) addEventListener(type, seen, { capture: true, passive: true });
    addEventListener("keydown", ({ key }) => (this.keys += ["Shift", "Control", "Alt", "Meta"].includes(key) ? 0 : 1), true);
    addEventListener("pointerdown", () => (this.clicks += 1), true);
  }

  /** Return the seconds so far. */
  now() {
    const now = performance.now();
    if (now - this.#last < IDLE_MS) this.seconds += (now - this.#last) / 1000;
    this.#last = now;
    return this.seconds;
  }

  get noted() {
    return { seconds: Math.round(10 * this.now()) / 10, keys: this.keys, clicks: this.clicks };
  }

  /** Go on from what an earlier visit of the strip noted. */
  add(noted) {
    for (const name of ["seconds", "keys", "clicks"]) this[name] += noted?.[name] >= 0 ? noted[name] : 0;
  }
}

class Page {
  #frame = 0;
  #selected = null;
  #label;
  #merging = false;
  #playing = false;
  #speed = 1;
  // When the present frame was due, and the time of a frame, in milliseconds: whole numbers in an array, so that playing
  // allocates nothing. The engine allocates for each fraction.
  #beat = new Int32Array(2);
  #shows = false;
  #follows = false;
  #timer = 0;
  #sending = false;
  #kept = false;
  #work = new Work();
  #level = kept.get("uncertain", 0.5);

  constructor(root, sequence, context, film, size) {
    this.root = root;
    this.sequence = sequence;
    this.context = context;
    this.film = film;
    const { tracks, candidates, instructions } = sequence;
    // Ground Truth's category file has no colours, so a job may tell them where its page of boxes tells them too.
    this.colors = parsed(asDocument(instructions.fullInstruction).querySelector("[data-portal=colors]")?.value || "{}");
    this.strip = new Strip({ frames: sequence.frames.length, size, tracks, candidates, clock: () => this.#work.now() });
    this.#label = sequence.labels[0];
    this.rate = rateOf(sequence.frames);
    this.#beat[1] = 1000 / this.rate;
    // While it plays, the page shows texts that are made once.
    this.places = sequence.frames.map(({ name }, n) => `Frame ${n + 1} of ${sequence.frames.length} · ${name}`);
    this.picture = new StripPicture(this.#find(".portal-picture"), size);
    this.lanes = new Lanes(this.#find(".strip-lanes"), sequence.frames.length);
    this.display = new Display(root);
    this.place = this.#find(".portal-place").firstChild;
    this.tick = (now) => this.#tick(now);
    this.#build();
    this.#listen();
    this.#restore(context.draft);
    this.#changed();
    this.#seek(this.#frame);
    this.#find(".portal-picture").focus();
  }

  #find(selector) {
    return this.root.querySelector(selector);
  }

  get track() {
    return this.strip.track(this.#selected) ?? null;
  }

  colorOf(label) {
    return this.colors[label] ?? `hsl(${(this.sequence.labels.indexOf(label) * 137) % 360} 60% 65%)`;
  }

  #build() {
    const { done, total, sent } = this.context;
    const bar = this.#find(".portal-progress");
    bar.setAttribute("aria-valuemax", total);
    bar.setAttribute("aria-valuenow", done);
    bar.firstElementChild.style.width = `${(100 * done) / Math.max(total, 1)}%`;
    this.#find(".portal-count").textContent = sent ? `Sent before · ${done} of ${total} done` : `Strip ${Math.min(done + 1, total)} of ${total}`;
    this.#find(".portal-classes ol").append(
      ...this.sequence.labels.map((label, index) => {
        const button = element("button", "portal-class");
        button.type = "button";
        button.dataset.class = index;
        const swatch = element("b", "strip-swatch");
        swatch.style.background = this.colorOf(label);
        button.append(element("kbd", "", digitOf(index)), swatch, element("span", "", label));
        const row = document.createElement("li");
        row.append(button);
        return row;
      }),
    );
    this.#slider(".strip-level", this.#level, (value) => {
      this.#level = value;
      kept.set("uncertain", value);
      this.#show();
    });
    this.#slider(".strip-gamma", this.display.gamma, (value) => this.display.set("gamma", value));
  }

  #slider(selector, value, change) {
    const input = this.#find(selector);
    const tell = () => (input.nextElementSibling.value = selector === ".strip-level" ? `${Math.round(100 * input.value)}%` : Number(input.value).toFixed(1));
    input.value = value;
    tell();
    input.addEventListener("input", () => {
      change(Number(input.value));
      tell();
    });
    input.addEventListener("pointerup", () => input.blur());
  }

  #listen() {
    addEventListener("keydown", (event) => {
      if (event.target.closest?.("dialog, textarea, input, .portal-notice")) return;
      // A button of the panel has its own keys.
      if (event.target.localName === "button" && ["Enter", " ", "Tab"].includes(event.key)) return;
      const command = commandOf(event);
      if (!command) return;
      event.preventDefault();
      if (event.repeat && ["send", "accept", "play", "split", "merge", "delete"].includes(command[0])) return;
      this.do(...command);
    });
    addEventListener("keyup", ({ key }) => key.toLowerCase() === "h" && this.#bare(false));
    addEventListener("blur", () => this.#bare(false));
    const panel = this.#find(".portal-panel");
    panel.addEventListener("mousedown", (event) => event.target.closest("input") || event.preventDefault());
    panel.addEventListener("click", ({ target }) => {
      const name = target.closest("[data-do]")?.dataset.do;
      const index = target.closest("[data-class]")?.dataset.class;
      if (name) this.do(name, ...(name === "walk" ? [1] : []));
      if (index) this.do("class", Number(index));
    });
    this.picture.addEventListener("select", ({ detail }) => this.#pick(detail));
    this.picture.addEventListener("place", ({ detail }) => this.#edit("place", this.#selected, this.#frame, detail));
    this.picture.addEventListener("draw", ({ detail }) => this.#draw(detail));
    this.lanes.addEventListener("select", ({ detail }) => this.#pick(detail));
    this.lanes.addEventListener("seek", ({ detail }) => {
      this.#stop();
      this.#seek(detail);
    });
    this.film.addEventListener("frame", ({ detail }) => detail === this.#frame && this.#draws());
    addEventListener("pagehide", () => this.#save(true));
  }

  /** Make the edits of a draft again. */
  #restore(draft) {
    this.#work.add(draft?.work ?? parsed(this.context.sent?.review ?? "{}"));
    if (!Array.isArray(draft?.edits)) return;
    this.#kept = true;
    try {
      for (const [kind, ...rest] of draft.edits) this.strip.edit(kind, ...rest);
    } catch (error) {
      notice(`Some of your earlier edits could not be taken up: ${error.message}`);
    }
    this.#frame = Math.min(Math.max(Math.trunc(draft.frame) || 0, 0), this.strip.frames - 1);
    this.#selected = this.strip.track(draft.selected)?.id ?? null;
  }

  #save(leaving = false) {
    clearTimeout(this.#timer);
    const { edits } = this.strip;
    if (this.#sending || !(edits.length || this.#kept)) return;
    // After an undo of everything, the draft is an empty one.
    this.#kept = true;
    saveDraft(url, { edits, frame: this.#frame, selected: this.#selected, work: this.#work.noted }, leaving);
  }

  /** Carry out a command. */
  do(name, ...rest) {
    if (this.#sending) return;
    if (this.#merging && !["escape", "send", "step", "walk", "track", "play"].includes(name)) this.#merging = false;
    try {
      this[`on_${name}`](...rest);
    } catch (error) {
      this.#tell(`${error.message}.`);
    }
    this.#show();
  }

  on_play() {
    if (this.#playing) return this.#stop();
    if (this.#frame === this.strip.frames - 1) this.#seek(0);
    this.#playing = true;
    this.#beat[0] = performance.now() | 0;
    requestAnimationFrame(this.tick);
    return undefined;
  }

  on_slower() {
    this.#pace(-1);
  }

  on_faster() {
    this.#pace(1);
  }

  #pace(step) {
    this.#speed = SPEEDS[Math.min(Math.max(SPEEDS.indexOf(this.#speed) + step, 0), SPEEDS.length - 1)];
    this.#beat[1] = 1000 / (this.rate * this.#speed);
    this.#tell(`Plays at ${this.#speed} × ${Math.round(this.rate)} frames in a second.`);
  }

  on_step(by) {
    this.#stop();
    this.#seek(Math.min(Math.max(this.#frame + by, 0), this.strip.frames - 1));
  }

  on_edge(key) {
    this.#stop();
    const { track } = this;
    this.#seek(key === "home" ? (track?.first ?? 0) : (track?.last ?? this.strip.frames - 1));
  }

  on_track(step) {
    const { tracks } = this;
    const at = tracks.findIndex(({ id }) => id === this.#selected);
    const next = tracks[at < 0 ? 0 : at + step];
    if (next) this.#go(next.id, this.#nearest(next));
  }

  on_walk(step) {
    const place = this.strip.place(this.#level, { frame: this.#frame, id: this.#selected ?? -1 }, step);
    if (place) return this.#go(place.id, place.frame);
    // From the selected track on, also if it was accepted just now.
    const at = this.tracks.findIndex(({ id }) => id === this.#selected);
    const around = this.tracks.map((_, n) => this.tracks.at((at + step * (n + 1)) % this.tracks.length));
    const next = around.find(({ accepted }) => !accepted);
    if (!next) return this.#tell("All tracks are accepted. Enter sends the strip.");
    return this.#go(next.id, this.#nearest(next));
  }

  on_accept() {
    const { track } = this.#needed();
    this.#edit("accept", track.id, !track.accepted);
    if (!track.accepted) this.on_walk(1);
  }

  on_key() {
    const { track } = this.#needed(true);
    this.#edit(track.marks[this.#frame] ? "unkey" : "key", track.id, this.#frame);
  }

  on_revert() {
    this.#edit("revert", this.#needed(true).track.id, this.#frame);
  }

  on_hide() {
    this.#edit("hide", this.#needed(true).track.id, this.#frame);
  }

  on_keyBefore() {
    this.#toKey((keys) => keys.findLast(({ frame }) => frame < this.#frame));
  }

  on_keyAfter() {
    this.#toKey((keys) => keys.find(({ frame }) => frame > this.#frame));
  }

  #toKey(find) {
    const key = find(this.#needed().track.keys);
    if (key) this.#seek(key.frame);
    else this.#tell("The track has no further key frame there.");
  }

  on_start() {
    this.#edit("start", this.#needed().track.id, this.#frame);
  }

  on_end() {
    this.#edit("end", this.#needed().track.id, this.#frame);
  }

  on_split() {
    const made = this.#edit("split", this.#needed().track.id, this.#frame, crypto.randomUUID());
    this.#selected = made;
  }

  on_merge() {
    this.#needed();
    this.#merging = true;
  }

  on_delete() {
    this.#edit("delete", this.#needed().track.id);
    this.#selected = null;
  }

  on_class(index) {
    const label = this.sequence.labels[index];
    if (label === undefined) return;
    this.#label = label;
    if (this.track && this.track.label !== label) this.#edit("rename", this.#selected, label);
  }

  on_nudge(x, y) {
    const [left, top, width, height] = this.#needed(true).box;
    this.#again([left + x, top + y, width, height]);
  }

  on_resize(x, y) {
    const [left, top, width, height] = this.#needed(true).box;
    this.#again([left, top, Math.max(1, width + x), Math.max(1, height + y)]);
  }

  #again(box) {
    this.#stop();
    this.strip.again("place", this.#selected, this.#frame, box);
    this.#changed();
  }

  on_undo() {
    if (!this.strip.undo()) return this.#tell("There is nothing to undo.");
    return this.#changed();
  }

  on_redo() {
    if (!this.strip.redo()) return this.#tell("There is nothing to redo.");
    return this.#changed();
  }

  on_escape() {
    if (this.picture.cancel()) return;
    if (this.#merging) this.#merging = false;
    else this.#selected = null;
  }

  on_bare() {
    this.#bare(true);
  }

  on_zoom() {
    this.picture.show();
  }

  on_fit() {
    this.picture.viewport.fit();
  }

  on_darker() {
    this.#brighten(-0.1);
  }

  on_brighter() {
    this.#brighten(0.1);
  }

  on_panel() {
    const panel = this.#find(".portal-panel");
    (panel.contains(document.activeElement) ? this.#find(".portal-picture") : panel.querySelector("button")).focus();
  }

  on_help() {
    this.#stop();
    openDialog("Keys of the sequence page", [keyTable(keyRows())]);
  }

  on_instructions() {
    const { shortInstruction, fullInstruction } = this.sequence.instructions;
    const told = element("div", "", "");
    const parts = [this.sequence.description, shortInstruction, fullInstruction];
    // They come from the job's own files and are shown as text: markup is left out.
    const plain = new Set(parts.map((text) => asDocument(text).body.textContent));
    told.append(...[...plain].filter(Boolean).map((text) => element("p", "", text)));
    openDialog(this.sequence.title, [told]);
  }

  async on_strips() {
    this.#save();
    await openFrames(url, "strip");
  }

  on_unsure() {
    this.#stop();
    askWhy("strip", (comment) => this.on_send({ unsure: true, ...(comment && { comment }) }), () => this.picture.host.focus());
  }

  async on_send(notes = {}) {
    if (this.#merging) return this.#merge(this.picture.other);
    this.#stop();
    this.#sending = true;
    clearTimeout(this.#timer);
    this.root.classList.add("strip-sent");
    const accepted = this.tracks.filter((track) => track.accepted).length;
    const review = { ...this.#work.noted, ...notes, edits: this.strip.efforts, accepted };
    const { width, height } = this.strip.size;
    try {
      const answer = { tracks: this.strip.answer, inputImageProperties: { width, height }, review: JSON.stringify(review) };
      const { next } = await post(url, { answerContent: answer });
      location.assign(next ?? url.replace(/\/tasks\/[^/]*$/u, "/"));
    } catch (error) {
      this.#sending = false;
      this.root.classList.remove("strip-sent");
      if (error.status === 409) location.assign(error.next ?? url.replace(/\/tasks\/[^/]*$/u, "/"));
      else {
        notice(`The strip was not saved: ${error.message.replace(/\.$/u, "")}. Your work is still here.`);
        this.#save();
      }
    }
    return undefined;
  }

  get tracks() {
    return this.strip.tracks;
  }

  /** Return the selected track, with its box in this frame if that is wanted; raises an error that says what is missing. */
  #needed(wantsBox = false) {
    const { track } = this;
    if (!track) throw new Error("Select a track first: click its box or its lane");
    if (wantsBox && !track.has[this.#frame]) throw new Error(`${track.name} has no box in this frame`);
    return { track, box: Array.from(track.boxes.subarray(4 * this.#frame, 4 * this.#frame + 4)) };
  }

  /** Return the frame of a track that is nearest to the present one. */
  #nearest(track) {
    return track.has[this.#frame] ? this.#frame : this.#frame < track.first ? track.first : track.has.findLastIndex((has, at) => has && at <= this.#frame);
  }

  #go(id, frame) {
    this.#stop();
    this.#selected = id;
    this.#seek(frame);
  }

  #pick(id) {
    if (this.#merging && id !== null && id !== this.#selected) this.#merge(id);
    else if (!this.#merging) this.#selected = id;
    this.#show();
  }

  #merge(id) {
    this.#merging = false;
    if (id !== null) this.#edit("merge", this.#selected, id);
    this.#show();
  }

  #draw(box) {
    const { track } = this;
    if (track?.drawn && !track.has[this.#frame]) {
      this.#edit("reach", track.id, this.#frame, box);
      const followed = this.track.has.filter((has) => has === MODEL).length - track.has.filter((has) => has === MODEL).length;
      if (followed) this.#tell(`In ${followed} frame${followed === 1 ? "" : "s"} between, ${track.name} follows what the models found below their threshold.`);
    } else this.#selected = this.#edit("draw", crypto.randomUUID(), this.#label, this.#frame, box);
    this.#show();
  }

  /** Make an edit; returns the id of the track that it made, if it made one. */
  #edit(...edit) {
    this.#stop();
    const made = this.strip.edit(...edit);
    this.#changed();
    return made;
  }

  #changed() {
    for (const track of this.tracks) track.color = this.colorOf(track.label);
    this.#show();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#save(), DRAFT_MS);
  }

  /** Show the present state, once for all that an event changes. */
  #show() {
    if (this.#shows) return;
    this.#shows = true;
    queueMicrotask(() => {
      this.#shows = false;
      this.#render();
    });
  }

  #render() {
    const { track } = this;
    this.picture.tracks = this.tracks;
    this.picture.selected = track?.id ?? null;
    const other = this.#merging && track ? this.strip.track(this.strip.continuation(track.id)) : null;
    this.picture.other = other?.id ?? null;
    this.picture.otherFrame = other ? this.#nearest(other) : 0;
    this.lanes.update(this.tracks, this.picture.selected, this.#level, this.picture.other);
    const about = this.#find(".strip-track");
    about.replaceChildren();
    if (track) {
      const level = track.uncertainty[this.#frame];
      const swatch = element("b", "strip-swatch");
      swatch.style.background = track.color;
      const title = element("h2", "", track.name);
      title.prepend(swatch);
      const likely = this.strip.track(this.strip.continuation(track.id, LIKELY));
      const facts = [
        `Frames ${track.first + 1} to ${track.last + 1}, ${track.keys.length} key frame${track.keys.length === 1 ? "" : "s"}`,
        track.marks[this.#frame] ? "Key frame here" : !track.has[this.#frame] ? "No box in this frame" : track.has[this.#frame] === FILLED ? "Filled in here" : "",
        level >= 0 ? `Uncertainty here ${Math.round(100 * level)} %` : "",
        track.accepted ? "Accepted" : "",
        likely ? `Perhaps one object with ${likely.name}: M merges` : "",
      ];
      about.append(title, ...facts.filter(Boolean).map((fact) => element("p", "", fact)));
    } else about.append(element("p", "", "No track is selected"));
    const accepted = this.tracks.filter((one) => one.accepted).length;
    about.append(element("p", "strip-accepted", `${accepted} of ${this.tracks.length} tracks accepted, ${this.strip.count(this.#level)} uncertain places`));
    for (const button of this.root.querySelectorAll("[data-class]")) {
      button.setAttribute("aria-pressed", String(this.sequence.labels[button.dataset.class] === (track?.label ?? this.#label)));
    }
    this.#find('[data-do="play"]').firstChild.textContent = this.#playing ? "Stop " : "Play ";
    this.#hint(track);
    if (this.#follows) this.picture.follow();
    this.#follows = false;
    this.#draws();
  }

  #hint(track) {
    const other = this.strip.track(this.picture.other);
    const proposed = other ? `Enter for ${other.name} (frames ${other.first + 1} to ${other.last + 1}), or ` : "";
    let text = HINT;
    if (this.#merging) text = `Merge ${track.name}: ${proposed}click another track. Esc gives up.`;
    else if (track?.drawn && !track.has[this.#frame]) text = `Draw ${track.name} here: the frames between are filled. Esc, then draw, for another object.`;
    if (this.#told !== null) [text, this.#told] = [this.#told, null];
    this.#find(".portal-hint").textContent = text;
  }

  #told = null;

  #tell(text) {
    this.#told = text;
  }

  #seek(frame) {
    this.#frame = frame;
    this.film.want(frame);
    this.picture.frame = frame;
    if (this.#playing) return this.#draws();
    this.#follows = true;
    return this.#show();
  }

  /** Draw the present frame. It runs for every frame that plays, and allocates nothing. */
  #draws() {
    this.picture.draw(this.film.at(this.#frame));
    this.lanes.draw(this.#frame);
    this.place.data = this.film.failed(this.#frame) ? "This frame cannot be loaded." : this.places[this.#frame];
  }

  #tick(time) {
    if (!this.#playing) return;
    requestAnimationFrame(this.tick);
    const now = time | 0;
    const next = this.#frame + 1;
    if (now - this.#beat[0] < this.#beat[1]) return;
    if (next === this.strip.frames) {
      this.#stop();
      this.#show();
      return;
    }
    // A frame that is still loading is waited for.
    if (this.film.at(next) === null && !this.film.failed(next)) {
      this.film.want(this.#frame);
      return;
    }
    this.#beat[0] = now - this.#beat[0] > 2 * this.#beat[1] ? now : this.#beat[0] + this.#beat[1];
    this.#seek(next);
  }

  #stop() {
    this.#playing = false;
  }

  #bare(bare) {
    this.picture.bare = bare;
    this.picture.redraw();
  }

  #brighten(by) {
    const input = this.#find(".strip-gamma");
    input.value = this.display.set("gamma", this.display.gamma + by);
    input.nextElementSibling.value = Number(input.value).toFixed(1);
  }
}

/** Fetch the next strip's first images, so that the browser has them. */
async function fetchAhead(next) {
  const { frames } = await read(`${next}/sequence`);
  for (const { image } of frames.slice(0, AHEAD)) await fetch(image).then((response) => response.blob());
  performance.mark("autolabel:ready", { detail: next });
}

async function begin() {
  const root = element("div", "portal strip");
  root.innerHTML = LAYOUT;
  document.body.append(root);
  try {
    const [sequence, context] = await Promise.all([read(`${url}/sequence`), read(`${url}/context`)]);
    const film = new Film(sequence.frames.map(({ image }) => image));
    const size = await film.open(0);
    new Page(root, sequence, context, film, size);
    root.dataset.ready = "true";
    if (context.next && context.next !== url) fetchAhead(context.next).catch(() => null);
  } catch (error) {
    const told = element("p", "portal-trouble", `The strip cannot be shown: ${error.message.replace(/\.$/u, "")}. Reload the page. If that does not help, tell the operator of this job.`);
    told.setAttribute("role", "alert");
    root.append(told);
  }
}

begin();
