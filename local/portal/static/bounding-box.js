// crowd-bounding-box: a frame's boxes, to be reviewed rather than drawn.
import { Frame } from "./frame.js";
import { commandOf } from "./keys.js";
import { parseLenient } from "./lenient.js";
import { Panel, askWhy, keyTable, openDialog } from "./panel.js";
import { Picture } from "./picture.js";
import { contextHere, here, pictureOf, prepareNext, saveDraft } from "./tasks.js";

const DRAFT_MS = 600;
// Candidates from this confidence are shown without being asked for: misses hide there, noise lies below.
const LEVEL = 0.35;
const UNKNOWN = "#9aa4ae";

const HINT = "Tab next doubtful box   Space accept   1–0 class   G add candidate   E four clicks   Del   U unsure   Enter send   ? keys";
const POINTS = ["topmost", "leftmost", "bottommost", "rightmost"];

/** Settings that outlive a frame: numbers and texts by name, in this browser. */
const kept = {
  get: (name, otherwise) => JSON.parse(localStorage.getItem(`autolabel:${name}`) ?? "null") ?? otherwise,
  set: (name, value) => localStorage.setItem(`autolabel:${name}`, JSON.stringify(value)),
};

/** What the template hands over beside the element, which real Ground Truth ignores. */
function handedOver(name) {
  try {
    return JSON.parse(document.querySelector(`data[data-portal="${name}"]`)?.value || "{}") ?? {};
  } catch {
    return {};
  }
}

const numbers = (box) => ["left", "top", "width", "height"].every((side) => Number.isFinite(box?.[side]));

export class BoundingBox extends HTMLElement {
  #frame = null;
  #picture = null;
  #panel = null;
  #selected = null;
  #listeners = null;
  #draftTimer = 0;
  #finished = false;
  #before = { seconds: 0, keys: 0, clicks: 0 };
  #context = null;
  #level = kept.get("level", LEVEL);
  #gamma = kept.get("gamma", 1);

  connectedCallback() {
    this.#listeners = new AbortController();
    this.url = here();
    this.labels = this.#read("labels").map(String);
    this.colors = handedOver("colors");
    this.instructions = [...this.querySelectorAll("full-instructions, short-instructions")];
    const image = pictureOf(this.getAttribute("src"));
    image.alt = this.getAttribute("header") ?? "";
    // A picture that was fetched ahead is shown in this very turn, not in the next one.
    if (image.complete && image.naturalWidth) {
      this.#show(image);
      return;
    }
    image.decode().then(
      () => this.isConnected && this.#show(image),
      () => this.#say("The picture cannot be loaded. Reload the page; if that does not help, tell whoever runs the job."),
    );
  }

  disconnectedCallback() {
    clearTimeout(this.#draftTimer);
    this.#listeners.abort();
    this.#picture?.destroy();
  }

  /** The answer, as Ground Truth's element gives it. */
  get value() {
    const boxes = this.#frame?.boxes ?? [];
    const { width, height } = this.#frame?.size ?? { width: 0, height: 0 };
    return {
      boundingBoxes: boxes.map(({ label, left, top, width: w, height: h }) => ({ label, left, top, width: w, height: h })),
      inputImageProperties: { width, height },
    };
  }

  /** What this element knows beside what the template's script notes. */
  get review() {
    const marks = this.#frame.boxes.map(({ occluded, truncated }) => ({
      ...(occluded && { occluded }),
      ...(truncated && { truncated }),
    }));
    const noted = this.closest("crowd-form")?.review ?? {};
    const whole = Object.entries(this.#before).map(([name, so]) => [name, Math.round(((noted[name] ?? 0) + so) * 10) / 10]);
    return {
      ...Object.fromEntries(whole),
      edits: this.#frame.edits,
      ...(marks.some((mark) => mark.occluded || mark.truncated) && { boxes: marks }),
    };
  }

  get draft() {
    const { seconds, keys, clicks } = this.review;
    return { ...this.#frame.draft, seconds, keys, clicks };
  }

  /** The answer is on its way: nothing more is saved, and no key counts. */
  finish() {
    this.#finished = true;
    clearTimeout(this.#draftTimer);
    const { frames, seconds } = kept.get(this.#pace, { frames: 0, seconds: 0 });
    kept.set(this.#pace, { frames: frames + 1, seconds: seconds + this.review.seconds });
  }

  resume() {
    this.#finished = false;
  }

  /** The name under which the pace of this job is kept. */
  get #pace() {
    return `pace:${this.url.replace(/\/tasks\/.*$/u, "")}`;
  }

  #read(attribute) {
    const text = this.getAttribute(attribute)?.trim();
    if (!text) return [];
    try {
      const value = parseLenient(text);
      return Array.isArray(value) ? value : [];
    } catch (error) {
      this.#say(`The template's ${attribute} cannot be read: ${error.message}`);
      return [];
    }
  }

  #say(text) {
    const told = document.createElement("p");
    told.className = "portal-trouble";
    told.setAttribute("role", "alert");
    told.textContent = text;
    this.append(told);
  }

  #colorOf = (label) => this.colors[label] ?? UNKNOWN;

  #show(image) {
    const doubt = handedOver("doubt");
    const given = this.#read("initial-value");
    const boxes = given.filter(numbers).map((box, i) => ({ ...box, doubt: doubt.boxes?.[i] }));
    const ghosts = (Array.isArray(doubt.ghosts) ? doubt.ghosts : []).filter((ghost) => numbers(ghost) && Number.isFinite(ghost.confidence));
    if (boxes.length < given.length) this.#say("Some boxes of the pre-label cannot be read and are not shown.");
    const size = { width: image.naturalWidth, height: image.naturalHeight };
    const clock = () => this.closest("crowd-form")?.review?.seconds ?? 0;
    this.#frame = new Frame({ size, boxes, ghosts, clock });

    const host = document.createElement("div");
    host.className = "portal-picture";
    host.tabIndex = 0;
    host.setAttribute("role", "application");
    host.setAttribute("aria-label", `${this.getAttribute("header") ?? "Boxes"}. ? shows all keys.`);
    this.#panel = new Panel({ labels: this.labels, colorOf: this.#colorOf, level: this.#level, gamma: this.#gamma });
    this.#panel.doubt(doubt.level, Array.isArray(doubt.why) ? doubt.why.map(String) : []);
    this.hint = Object.assign(document.createElement("p"), { className: "portal-hint", textContent: HINT });
    this.hint.setAttribute("role", "status");
    const view = document.createElement("div");
    view.className = "portal";
    view.append(host, this.hint, this.#panel.root);
    this.append(view);
    this.#brighten(this.#gamma);
    this.#picture = new Picture(image, host, this.#colorOf);
    this.#wire();
    this.#refresh();
    host.focus({ preventScroll: true });
    this.#settle();
  }

  /** What may come after the picture is on the screen: progress, a draft, the task after this one. */
  async #settle() {
    requestAnimationFrame(() => requestAnimationFrame(() => performance.mark("autolabel:painted", { detail: this.url })));
    const context = await contextHere();
    if (!this.isConnected) return;
    this.#context = context;
    const { frames, seconds } = kept.get(this.#pace, { frames: 0, seconds: 0 });
    if (context) {
      this.#panel.progress({ done: context.done, total: context.total, seconds: frames ? seconds / frames : null });
      if (context.draft && !this.#frame.touched) this.#restore(context.draft);
      // Held in the browser's cache until a key asks for them.
      for (const side of ["before", "after"]) if (context[side]) Object.assign(new Image(), { src: context[side].image });
    }
    if (!document.body.dataset.portalStarted) {
      document.body.dataset.portalStarted = "yes";
      await prepareNext();
    }
  }

  #restore(draft) {
    this.#frame.restore(draft);
    for (const name of Object.keys(this.#before)) this.#before[name] = Number.isFinite(draft[name]) ? draft[name] : 0;
  }

  #wire() {
    const { signal } = this.#listeners;
    const on = (target, type, handler) => target.addEventListener(type, ({ detail }) => handler(detail), { signal });
    on(this.#frame, "change", () => {
      if (!this.#frame.box(this.#selected) && !this.#frame.ghost(this.#selected)) this.#selected = null;
      this.#refresh();
      this.#saveSoon();
    });
    on(this.#picture, "select", (id) => this.#select(id));
    on(this.#picture, "place", ({ id, box }) => {
      this.#frame.place(id, box);
      this.#refresh();
    });
    on(this.#picture, "draw", ({ id, box }) => {
      this.#selected = id;
      this.#frame.add(id, this.#lastLabel, box);
    });
    on(this.#picture, "points", (set) => this.#tell(set === null ? HINT : `Click the ${POINTS[set]} point of the object · Esc gives up`));
    on(this.#panel, "do", (name) => this.#do({ name }));
    on(this.#panel, "pick", (id) => this.#select(id, true));
    on(this.#panel, "class", (index) => this.#do({ name: "class", index }));
    on(this.#panel, "level", (level) => this.#setLevel(level));
    on(this.#panel, "gamma", (gamma) => this.#brighten(gamma));
    // The template's script listens at the window: it has noted a key before the key sends the frame.
    document.addEventListener("keydown", (event) => this.#keyDown(event), { capture: true, signal });
    document.addEventListener("keyup", (event) => this.#keyUp(event), { capture: true, signal });
    addEventListener("blur", () => this.#letGo(), { signal });
    addEventListener("pagehide", () => this.#saveNow(true), { signal });
  }

  get #ghosts() {
    return this.#frame.ghosts.filter((ghost) => ghost.confidence >= this.#level - 1e-9);
  }

  get #lastLabel() {
    const label = kept.get("label", null);
    return this.labels.includes(label) ? label : (this.labels[0] ?? "");
  }

  #refresh() {
    const ghosts = this.#ghosts;
    const selected = this.#selected;
    const label = (this.#frame.box(selected) ?? this.#frame.ghost(selected))?.label ?? this.#lastLabel;
    this.#picture.update({ boxes: this.#frame.boxes, ghosts, selected });
    const hidden = this.#frame.ghosts.length - ghosts.length;
    this.#panel.update({ queue: this.#frame.queue, ghosts, hidden, selected, label });
  }

  #select(id, approach = false) {
    this.#selected = id;
    this.#refresh();
    const item = this.#frame.box(id) ?? this.#frame.ghost(id);
    if (approach && item) this.#picture.show(item);
  }

  #tell(text) {
    this.hint.textContent = text;
  }

  #setLevel(level) {
    this.#level = Math.round(Math.min(Math.max(level, 0), 1) * 20) / 20;
    kept.set("level", this.#level);
    this.#panel.set("level", this.#level);
    if (this.#frame.ghost(this.#selected)?.confidence < this.#level) this.#selected = null;
    this.#refresh();
  }

  #brighten(gamma) {
    this.#gamma = Math.round(Math.min(Math.max(gamma, 0.4), 3) * 10) / 10;
    kept.set("gamma", this.#gamma);
    this.#panel.set("gamma", this.#gamma);
    this.querySelector(".portal-filter")?.remove();
    this.classList.toggle("portal-brightened", this.#gamma !== 1);
    if (this.#gamma === 1) return;
    const channels = ["R", "G", "B"].map((c) => `<feFunc${c} type="gamma" exponent="${(1 / this.#gamma).toFixed(3)}"/>`);
    const filter = document.createElement("div");
    filter.className = "portal-filter";
    filter.innerHTML = `<svg width="0" height="0" aria-hidden="true"><filter id="portal-gamma" color-interpolation-filters="sRGB"><feComponentTransfer>${channels.join("")}</feComponentTransfer></filter></svg>`;
    this.append(filter);
  }

  #saveSoon() {
    if (this.#finished) return;
    clearTimeout(this.#draftTimer);
    this.#draftTimer = setTimeout(() => this.#saveNow(), DRAFT_MS);
  }

  #saveNow(leaving = false) {
    clearTimeout(this.#draftTimer);
    if (!this.#finished && this.#frame.touched) saveDraft(this.url, this.draft, leaving);
  }

  #keyDown(event) {
    if (this.#finished || document.querySelector("dialog[open]") || event.isComposing) return;
    const field = event.target.closest?.("input, textarea, select");
    const inPanel = this.#panel.root.contains(event.target);
    const command = commandOf(event);
    if (!command) return;
    // In the panel the browser's own keys go on working, so that it can be used without a mouse.
    if (inPanel && ["walk", "space", "send"].includes(command.name)) return;
    if (field && ["nudge", "resize"].includes(command.name)) return;
    if (field && field.type !== "range") return;
    event.preventDefault();
    event.stopPropagation();
    if (event.repeat && !["nudge", "resize", "walk", "undo", "redo", "more", "fewer", "darker", "brighter"].includes(command.name)) return;
    this.#do(command);
  }

  #keyUp(event) {
    const key = event.key.toLowerCase();
    if (key === " " && this.#picture.panning) {
      this.#picture.panning = false;
      if (!this.#picture.panned) this.#do({ name: "accept" });
    }
    if (["h", "p", "n"].includes(key)) this.#letGo();
  }

  #letGo() {
    this.#picture.panning = false;
    this.#picture.bare(false);
    this.#picture.compare(null);
    if (!this.#picture.inExtremes) this.#tell(HINT);
  }

  #walk(step) {
    const next = this.#frame.following(this.#selected, step);
    if (next) this.#select(next.id, true);
  }

  #accept() {
    if (this.#frame.ghost(this.#selected)) this.#promote();
    if (!this.#frame.box(this.#selected)) {
      this.#walk(1);
      return;
    }
    this.#frame.accept(this.#selected);
    if (this.#frame.boxes.some((box) => !box.reviewed)) {
      this.#walk(1);
      return;
    }
    this.#select(null);
    this.#picture.viewport.fit();
    this.#tell("All boxes are reviewed. Is an object without a box? Then Enter.");
  }

  #promote() {
    const ghosts = this.#ghosts;
    const wanted = ghosts.find((ghost) => ghost.id === this.#selected) ?? ghosts.find((ghost) => ghost.id === this.#picture.hovered) ?? ghosts[0];
    if (wanted) {
      const id = `from-${wanted.id}`;
      this.#selected = id;
      this.#frame.promote(wanted.id);
    } else if (this.#frame.ghosts.length) {
      // Never a box that nobody has seen.
      this.#setLevel(Math.floor(this.#frame.ghosts[0].confidence * 20) / 20);
      this.#tell("The next candidate is shown: G again makes it a box");
    }
  }

  #shift([dx, dy], resizes) {
    const box = this.#frame.box(this.#selected);
    if (!box) return;
    const { width, height } = this.#frame.size;
    if (resizes) {
      const place = { ...box, width: Math.max(box.width + dx, 1), height: Math.max(box.height + dy, 1) };
      this.#frame.place(box.id, place);
      return;
    }
    // At the picture's edge a box stops and keeps its size.
    const left = Math.min(Math.max(box.left + dx, 0), width - box.width);
    const top = Math.min(Math.max(box.top + dy, 0), height - box.height);
    this.#frame.place(box.id, { ...box, left, top });
  }

  #relabel(label) {
    if (label === undefined) return;
    kept.set("label", label);
    if (this.#frame.ghost(this.#selected)) this.#promote();
    if (this.#frame.box(this.#selected)) this.#frame.relabel(this.#selected, label);
    this.#refresh();
  }

  #compare(side) {
    const url = this.#context?.[side]?.image;
    const name = side === "before" ? "previous" : "next";
    if (url) this.#picture.compare(url);
    this.#tell(url ? `The ${name} frame, while the key is held` : `There is no ${name} frame`);
  }

  #unsure() {
    const form = this.closest("crowd-form");
    if (!form?.review) this.#tell("This job takes no notes: its template has no field for them");
    else askWhy((comment) => form.submit({ unsure: true, ...(comment && { comment }) }), () => this.#picture.host.focus());
  }

  #do(command) {
    const frame = this.#frame;
    const selected = this.#selected;
    const actions = {
      send: () => this.closest("crowd-form")?.submit(),
      walk: () => this.#walk(command.step),
      space: () => Object.assign(this.#picture, { panning: true, panned: false }),
      accept: () => this.#accept(),
      delete: () => frame.delete(selected),
      class: () => this.#relabel(this.labels[command.index]),
      nudge: () => this.#shift(command.by, false),
      resize: () => this.#shift(command.by, true),
      promote: () => this.#promote(),
      more: () => this.#setLevel(this.#level - 0.05),
      fewer: () => this.#setLevel(this.#level + 0.05),
      extremes: () => this.#picture.extremes(),
      occluded: () => frame.toggle(selected, "occluded"),
      truncated: () => frame.toggle(selected, "truncated"),
      ignore: () => this.labels.includes("ignore") && frame.relabel(selected, "ignore"),
      unsure: () => this.#unsure(),
      hide: () => this.#picture.bare(true),
      before: () => this.#compare("before"),
      after: () => this.#compare("after"),
      fit: () => this.#picture.viewport.fit(),
      darker: () => this.#brighten(this.#gamma - 0.1),
      brighter: () => this.#brighten(this.#gamma + 0.1),
      undo: () => frame.undo(),
      redo: () => frame.redo(),
      escape: () => (this.#picture.inExtremes ? this.#picture.extremes(false) : this.#select(null)),
      panel: () => (this.#panel.root.contains(document.activeElement) ? this.#picture.host : this.#panel.root.querySelector("button")).focus(),
      help: () => openDialog("Keys", [keyTable()]),
      instructions: () => openDialog(this.getAttribute("header") ?? "What counts", this.instructions.map((part) => part.cloneNode(true))),
    };
    actions[command.name]();
  }
}
