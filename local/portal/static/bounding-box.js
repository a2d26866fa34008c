// crowd-bounding-box: shows a frame's boxes for review.
import { copiedBoxes, copyBoxes } from "./clipboard.js";
import { Display } from "./display.js";
import { filters } from "./filters.js";
import { parsed } from "./form.js";
import { openFrames } from "./frame-list.js";
import { Frame } from "./frame.js";
import { chosen, kept } from "./kept.js";
import { commandOf, keyName, keyOf } from "./keys.js";
import { parseLenient } from "./lenient.js";
import { Panel, askWhy, keyTable, openDialog } from "./panel.js";
import { Picture } from "./picture.js";
import { openSettings } from "./settings.js";
import { saveDraft } from "./sending.js";
import { contextHere, goBack, here, pictureOf, prepareNext } from "./tasks.js";

const DRAFT_MS = 600;
// From this uncertainty on, the warning before sending counts a box.
const UNCERTAIN = 0.3;
const UNKNOWN = "#9aa4ae";

const hintOf = () =>
  [
    ["Tab", "next uncertain box"],
    ["Space", "accept"],
    ["1–0", "class"],
    ...[["promote", "add candidate"], ["extremes", "four clicks"]].map(([name, does]) => [keyName(keyOf(name)), does]),
    ["Del", "delete"],
    ...[["unsure", "unsure"], ["frames", "frames"]].map(([name, does]) => [keyName(keyOf(name)), does]),
    ["Enter", "send"],
    ["?", "keys"],
  ]
    .map(([key, does]) => `${key} ${does}`)
    .join("   ");
// What a locked box refuses.
const CHANGES = ["delete", "class", "nudge", "resize", "occluded", "truncated", "ignore"];
const LAST = "This is the last open frame. When you send it, the job ends, and you cannot change frames any more. L shows them.";
const POINTS = ["topmost", "leftmost", "bottommost", "rightmost"];

/** Return a value that the template passes in a data element, which real Ground Truth ignores. */
function passed(name) {
  return parsed(document.querySelector(`data[data-portal="${name}"]`)?.value || "{}");
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
  #display = null;
  #locked = new Set();
  #warned = false;

  connectedCallback() {
    this.#listeners = new AbortController();
    this.url = here();
    this.labels = this.#read("labels").map(String);
    this.colors = passed("colors");
    // The template says there where and when the frame was taken; its script completes the text.
    this.place = this.querySelector('[data-portal="place"]');
    this.instructions = [...this.querySelectorAll("full-instructions, short-instructions")];
    const image = pictureOf(this.getAttribute("src"));
    image.alt = this.getAttribute("header") ?? "";
    // An image that was fetched ahead is shown at once, without waiting for a promise.
    const started = document.body.dataset.portalStarted;
    if (started && image.complete && image.naturalWidth) {
      this.#show(image);
      return;
    }
    // After a page load, the frame may be one that was sent: no key may send it before its answer is here.
    Promise.all([image.decode(), started ? null : contextHere()]).then(
      () => this.isConnected && this.#show(image),
      () => this.#report("The image cannot be loaded. Reload the page. If that does not help, tell the operator of this job."),
    );
  }

  disconnectedCallback() {
    if (this.#frame) this.#saveNow();
    this.#listeners.abort();
    this.#picture?.destroy();
  }

  /** The answer, in the shape of Ground Truth's element. */
  get value() {
    const boxes = this.#frame?.boxes ?? [];
    const { width, height } = this.#frame?.size ?? { width: 0, height: 0 };
    return {
      boundingBoxes: boxes.map(({ label, left, top, width: w, height: h }) => ({ label, left, top, width: w, height: h })),
      inputImageProperties: { width, height },
    };
  }

  /** The notes of this element, in addition to those of the template's script. */
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

  /** The answer is being sent: save no more drafts, and ignore keys. */
  finish() {
    this.#finished = true;
    clearTimeout(this.#draftTimer);
    // A frame that is sent again is not a new one.
    if (this.#context?.sent) return;
    const { frames, seconds } = kept.get(this.#pace, { frames: 0, seconds: 0 });
    kept.set(this.#pace, { frames: frames + 1, seconds: seconds + this.review.seconds });
  }

  resume() {
    this.#finished = false;
  }

  /** The name of the setting with this job's pace. */
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
      this.#report(`The template's ${attribute} cannot be read: ${error.message}`);
      return [];
    }
  }

  #report(text) {
    const told = document.createElement("p");
    told.className = "portal-trouble";
    told.setAttribute("role", "alert");
    told.textContent = text;
    this.append(told);
  }

  #colorOf = (label) => this.colors[label] ?? UNKNOWN;

  #show(image) {
    // The template's own names: "doubt" for uncertainty, "ghosts" for candidates. plain-english: ok
    const { level, why, boxes: levels, ghosts } = passed("doubt");
    const given = this.#read("initial-value");
    const boxes = given.filter(numbers).map((box, i) => ({ ...box, uncertainty: levels?.[i] }));
    const candidates = (Array.isArray(ghosts) ? ghosts : []).filter((box) => numbers(box) && Number.isFinite(box.confidence));
    if (boxes.length < given.length) this.#report("Some boxes of the pre-label cannot be read and are not shown.");
    const size = { width: image.naturalWidth, height: image.naturalHeight };
    const clock = () => this.closest("crowd-form")?.review?.seconds ?? 0;
    this.#frame = new Frame({ size, boxes, candidates, clock });

    const host = document.createElement("div");
    host.className = "portal-picture";
    host.tabIndex = 0;
    host.setAttribute("role", "application");
    host.setAttribute("aria-label", `${this.getAttribute("header") ?? "Boxes"}. ? shows all keys.`);
    this.#display = new Display(this);
    const { gamma, opacity } = this.#display;
    const { level: shown, least } = filters;
    this.#panel = new Panel({ labels: this.labels, colorOf: this.#colorOf, place: this.place, sliders: { level: shown, least, opacity, gamma } });
    this.#panel.uncertainty(level, Array.isArray(why) ? why.map(String) : []);
    this.hint = Object.assign(document.createElement("p"), { className: "portal-hint", textContent: hintOf() });
    this.hint.setAttribute("role", "status");
    const view = document.createElement("div");
    view.className = "portal";
    view.append(host, this.hint, this.#panel.root);
    this.append(view);
    this.#picture = new Picture(image, host, this.#colorOf);
    this.#wire();
    this.#refresh();
    host.focus({ preventScroll: true });
    this.#settle();
  }

  /** Load what can wait until the image is on the screen: progress, a draft, the next task. */
  async #settle() {
    requestAnimationFrame(() => requestAnimationFrame(() => performance.mark("autolabel:painted", { detail: this.url })));
    const context = await contextHere();
    if (!this.isConnected) return;
    this.#context = context;
    const { frames, seconds } = kept.get(this.#pace, { frames: 0, seconds: 0 });
    if (context) {
      const { done, total, draft, sent } = context;
      this.#panel.progress({ done, total, sent: Boolean(sent), seconds: frames ? seconds / frames : null });
      if (context.proposed.length) this.#frame.propose(context.proposed);
      const left = draft ?? this.#answered(sent);
      if (left && !this.#frame.touched) this.#restore(left);
      if (!sent && total - done === 1) this.#showHint(LAST);
      // Loaded into the browser's cache for the keys P and N.
      for (const side of ["before", "after"]) if (context[side]) Object.assign(new Image(), { src: context[side].image });
    }
    if (!document.body.dataset.portalStarted) {
      document.body.dataset.portalStarted = "yes";
      await prepareNext();
    }
  }

  /** Return an answer of this frame as the draft of its next one; null without an answer. */
  #answered(sent) {
    if (!sent) return null;
    const { edits, boxes: marks = [], seconds, keys, clicks } = parsed(sent.review ?? "{}");
    const boxes = sent[this.getAttribute("name")]?.boundingBoxes ?? [];
    return { ...this.#frame.answered(boxes, marks), edits, seconds, keys, clicks };
  }

  #restore(draft) {
    this.#frame.restore(draft);
    for (const name of Object.keys(this.#before)) this.#before[name] = Number.isFinite(draft[name]) ? draft[name] : 0;
  }

  #wire() {
    const { signal } = this.#listeners;
    const on = (target, type, handler) => target.addEventListener(type, ({ detail }) => handler(detail), { signal });
    on(this.#frame, "change", () => {
      this.#warned = false;
      if (!this.#frame.box(this.#selected) && !this.#frame.candidate(this.#selected)) this.#selected = null;
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
    on(this.#picture, "points", (set) => this.#showHint(set === null ? hintOf() : `Click the object's ${POINTS[set]} point · Esc cancels`));
    on(this.#panel, "do", (name) => this.#do({ name }));
    on(this.#panel, "pick", (id) => this.#select(id, true));
    on(this.#panel, "class", (index) => this.#do({ name: "class", index }));
    on(this.#panel, "filter", (label) => {
      filters.toggle(label);
      this.#refilter();
    });
    on(this.#panel, "slide", ({ name, value }) => this.#slide(name, value));
    // The template's script listens at the window, so it notes a key before the key sends the frame.
    document.addEventListener("keydown", (event) => this.#keyDown(event), { capture: true, signal });
    document.addEventListener("keyup", (event) => this.#keyUp(event), { capture: true, signal });
    addEventListener("blur", () => this.#letGo(), { signal });
    addEventListener("pagehide", () => this.#saveNow(true), { signal });
  }

  /** Those of these boxes or candidates that no filter hides; the selected one is never hidden. */
  #shown(items) {
    return items.filter((item) => item.id === this.#selected || filters.shows(item));
  }

  get #candidates() {
    return this.#shown(this.#frame.candidates);
  }

  get #lastLabel() {
    const label = kept.get("label", null);
    return this.labels.includes(label) ? label : (this.labels[0] ?? "");
  }

  #refresh() {
    const { queue, candidates: offered } = this.#frame;
    const [boxes, candidates] = [this.#shown(queue), this.#candidates];
    const selected = this.#selected;
    const next = this.#lastLabel;
    const label = (this.#frame.box(selected) ?? this.#frame.candidate(selected))?.label ?? next;
    const locked = this.#locked;
    this.#picture.update({ boxes, candidates, selected, locked, next: chosen("pointer") ? next : null });
    const hidden = { boxes: queue.length - boxes.length, candidates: offered.length - candidates.length };
    this.#panel.update({ boxes, candidates, hidden, selected, label, locked, hides: (name) => filters.hidesClass(name) });
  }

  #select(id, approach = false) {
    this.#selected = id;
    this.#refresh();
    const item = this.#frame.box(id) ?? this.#frame.candidate(id);
    if (approach && item && chosen("zoom")) this.#picture.show(item);
  }

  #settingsChanged() {
    this.hint.textContent = hintOf();
    this.#refresh();
  }

  #showHint(text) {
    this.hint.textContent = text;
  }

  /** Set a slider of the panel. */
  #slide(name, value) {
    if (name in filters) filters[name] = value;
    this.#panel.set(name, name in filters ? filters[name] : this.#display.set(name, value));
    if (name in filters) this.#refilter();
  }

  /** Show what the filters let through; something selected that they hide is selected no more. */
  #refilter() {
    const item = this.#frame.box(this.#selected) ?? this.#frame.candidate(this.#selected);
    if (item && !filters.shows(item)) this.#selected = null;
    this.#refresh();
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
    // In the panel the browser's own keys keep working, so that it can be used without a mouse.
    if (inPanel && ["walk", "space", "send"].includes(command.name)) return;
    if (field && ["nudge", "resize"].includes(command.name)) return;
    if (field && field.type !== "range") return;
    if (command.name === "copy" && !getSelection().isCollapsed) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.repeat && !["nudge", "resize", "walk", "undo", "redo", "more", "fewer", "darker", "brighter"].includes(command.name)) return;
    this.#do(command);
  }

  #keyUp(event) {
    if (event.key === " " && this.#picture.panning) {
      this.#picture.panning = false;
      if (!this.#picture.panned) this.#do({ name: "accept" });
    }
    if (["hide", "before", "after"].includes(commandOf(event)?.name)) this.#letGo();
  }

  #letGo() {
    this.#picture.panning = false;
    this.#picture.bare(false);
    this.#picture.compare(null);
    if (!this.#picture.inExtremes) this.#showHint(hintOf());
  }

  #walk(step) {
    const next = this.#frame.following(this.#selected, this.#shown(this.#frame.queue), step);
    if (next) this.#select(next.id, true);
  }

  #accept() {
    if (this.#frame.candidate(this.#selected)) this.#promote();
    if (!this.#frame.box(this.#selected)) {
      this.#walk(1);
      return;
    }
    this.#frame.accept(this.#selected);
    if (this.#shown(this.#frame.boxes).some((box) => !box.reviewed)) {
      this.#walk(1);
      return;
    }
    this.#select(null);
    this.#picture.viewport.fit();
    this.#showHint("All boxes are reviewed. Add boxes for missed objects, then press Enter.");
  }

  #promote() {
    const candidates = this.#candidates;
    const byId = (id) => candidates.find((candidate) => candidate.id === id);
    const wanted = byId(this.#selected) ?? byId(this.#picture.hovered) ?? candidates[0];
    if (wanted) {
      const id = `from-${wanted.id}`;
      this.#selected = id;
      this.#frame.promote(wanted.id);
      return;
    }
    const hidden = this.#frame.candidates.find((candidate) => !filters.shows(candidate) && !filters.hidesClass(candidate.label));
    if (hidden) {
      // The first press only shows the candidate: a reviewer must see a box before adding it.
      filters.reveal(hidden);
      this.#slide("level", filters.level);
      this.#showHint(`The next candidate is shown. Press ${keyName(keyOf("promote"))} again to add it as a box.`);
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
    // A box stops at the image's edge and keeps its size.
    const left = Math.min(Math.max(box.left + dx, 0), width - box.width);
    const top = Math.min(Math.max(box.top + dy, 0), height - box.height);
    this.#frame.place(box.id, { ...box, left, top });
  }

  #relabel(label) {
    if (label === undefined) return;
    kept.set("label", label);
    if (this.#frame.candidate(this.#selected)) this.#promote();
    if (this.#frame.box(this.#selected)) this.#frame.relabel(this.#selected, label);
    this.#refresh();
  }

  #compare(side) {
    const neighbour = this.#context?.[side];
    const name = side === "before" ? "previous" : "next";
    if (neighbour) this.#picture.compare(neighbour);
    this.#showHint(neighbour ? `The ${name} frame is shown while you hold the key` : `This camera has no ${name} frame`);
  }

  #copy() {
    const box = this.#frame.box(this.#selected);
    const boxes = box ? [box] : this.#frame.boxes;
    copyBoxes(boxes);
    this.#showHint(`${boxes.length === 1 ? "1 box is" : `${boxes.length} boxes are`} copied. Ctrl V adds them to another frame.`);
  }

  /** Add the copied boxes whose class this job has, except those that are here already. */
  #paste() {
    const added = this.#frame.paste(copiedBoxes().filter(({ label }) => this.labels.includes(label)));
    if (added.length === 1) this.#select(added[0]);
    this.#showHint(added.length ? `${added.length === 1 ? "1 box is" : `${added.length} boxes are`} pasted.` : "There is no copied box that this frame lacks.");
  }

  #unsure() {
    const form = this.closest("crowd-form");
    if (!form?.review) this.#showHint("You cannot mark this frame as unsure: the job's template has no field for notes");
    else askWhy("frame", (comment) => form.submit({ unsure: true, ...(comment && { comment }) }), () => this.#picture.host.focus());
  }

  /** Send the frame; if the reviewer wants it, warn once of uncertain boxes that are not reviewed. */
  #send() {
    const unread = this.#frame.queue.filter((box) => !box.reviewed && box.uncertainty >= UNCERTAIN);
    if (!chosen("warn") || this.#warned || !unread.length) {
      this.closest("crowd-form")?.submit();
      return;
    }
    this.#warned = true;
    this.#select(unread[0].id, true);
    const boxes = unread.length === 1 ? "1 uncertain box is" : `${unread.length} uncertain boxes are`;
    this.#showHint(`${boxes} not reviewed. Space accepts a box; Enter again sends the frame as it is.`);
  }

  /** Lock the selected box, or all; unlock it if it is locked. */
  #lock(all) {
    const ids = all ? this.#frame.boxes.map(({ id }) => id) : [this.#selected].filter((id) => this.#frame.box(id));
    const locks = !ids.every((id) => this.#locked.has(id));
    for (const id of ids) this.#locked[locks ? "add" : "delete"](id);
    this.#refresh();
  }

  #do(command) {
    const frame = this.#frame;
    const selected = this.#selected;
    if (CHANGES.includes(command.name) && this.#locked.has(selected)) {
      this.#showHint("This box is locked. Unlock it first.");
      return;
    }
    const actions = {
      send: () => this.#send(),
      walk: () => this.#walk(command.step),
      space: () => Object.assign(this.#picture, { panning: true, panned: false }),
      accept: () => this.#accept(),
      delete: () => frame.delete(selected),
      class: () => this.#relabel(this.labels[command.index]),
      nudge: () => this.#shift(command.by, false),
      resize: () => this.#shift(command.by, true),
      promote: () => this.#promote(),
      more: () => this.#slide("level", filters.level - 0.05),
      fewer: () => this.#slide("level", filters.level + 0.05),
      extremes: () => this.#picture.extremes(),
      occluded: () => frame.toggle(selected, "occluded"),
      truncated: () => frame.toggle(selected, "truncated"),
      ignore: () => this.labels.includes("ignore") && frame.relabel(selected, "ignore"),
      unsure: () => this.#unsure(),
      hide: () => this.#picture.bare(true),
      before: () => this.#compare("before"),
      after: () => this.#compare("after"),
      fit: () => this.#picture.viewport.fit(),
      darker: () => this.#slide("gamma", this.#display.gamma - 0.1),
      brighter: () => this.#slide("gamma", this.#display.gamma + 0.1),
      lock: () => this.#lock(command.shift),
      settings: () => openSettings(() => this.#settingsChanged()),
      copy: () => this.#copy(),
      paste: () => this.#paste(),
      undo: () => frame.undo(),
      redo: () => frame.redo(),
      escape: () => (this.#picture.inExtremes ? this.#picture.extremes(false) : this.#select(null)),
      panel: () => (this.#panel.root.contains(document.activeElement) ? this.#picture.host : this.#panel.root.querySelector("button")).focus(),
      back: () => goBack() || this.#showHint("There is no frame to go back to. L shows all frames of this job."),
      frames: () => openFrames(this.url),
      help: () => openDialog("Keys", [keyTable()]),
      instructions: () => openDialog(this.getAttribute("header") ?? "Instructions", this.instructions.map((part) => part.cloneNode(true))),
    };
    actions[command.name]();
  }
}
