// The keys and their commands: for the keyboard, for the table of keys (?), and for the settings that change them.
import { kept } from "./kept.js";

/** Commands whose key a reviewer may change: name, key, what it does. */
export const COMMANDS = [
  ["accept", "a", "accept the box and go to the next one (also Space)"],
  ["promote", "g", "add a candidate: the selected, the one under the pointer, or the most confident"],
  ["more", "[", "show more candidates"],
  ["fewer", "]", "show fewer candidates"],
  ["extremes", "e", "add a box by four clicks: top, left, bottom, right (Esc cancels)"],
  ["occluded", "o", "mark as occluded"],
  ["truncated", "t", "mark as truncated"],
  ["ignore", "i", "set class ignore"],
  ["lock", "k", "lock the box against changes, or unlock it (⇧: all boxes)"],
  ["unsure", "u", "unsure: send the frame for a second review"],
  ["back", "b", "back to the frame before"],
  ["frames", "l", "list all frames, also to change those that you sent"],
  ["hide", "h", "hold: hide all boxes"],
  ["before", "p", "hold: show the previous frame of this camera with its boxes"],
  ["after", "n", "hold: show the next frame of this camera with its boxes"],
  ["fit", "f", "show the whole image"],
  ["darker", "-", "darker"],
  ["brighter", "=", "brighter"],
  ["settings", "s", "settings"],
];

const FIXED = [
  ["Enter", "send the frame as it is and open the next one"],
  ["Tab · ⇧ Tab", "next · previous box to review, most uncertain first"],
  ["1 … 9, 0", "class of the selected box; if none is selected, of the next new box"],
  ["Delete, ⌫", "delete the selected box"],
  ["← ↑ → ↓", "move by 1 pixel (⇧: 10 pixels; Alt: resize at the right and bottom edge)"],
  ["drag", "draw a box; in the selected box: move it; at its handles: resize it"],
  ["wheel", "zoom at the pointer"],
  ["Space or middle button + drag", "pan"],
  ["Ctrl Z · Ctrl ⇧ Z", "undo · redo"],
  ["Ctrl C · Ctrl V", "copy the selected box, or all if none is selected · paste them, also in other frames"],
  ["Esc", "clear the selection"],
  ["F6", "move the keyboard to the side panel and back"],
  ["?", "show this table"],
];

const PLAIN = { enter: "send", delete: "delete", backspace: "delete", "+": "brighter", escape: "escape", f6: "panel", "?": "help" };
const CONTROL = { y: "redo", c: "copy", v: "paste" };
const ARROWS = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] };
// For keyboards without these characters, by the key's position.
const CODES = { BracketLeft: "[", BracketRight: "]", Minus: "-", Equal: "=" };

/** The key of each command: the reviewer's, or the usual one. */
export const keyOf = (name) => kept.get("keys", {})[name] ?? COMMANDS.find(([known]) => known === name)[1];

/** Return the text of a key, as keyboards show it. */
export const keyName = (key) => key.toUpperCase();

/** Return the key of a key press if a command may have it: one character without a meaning of its own; else null. */
export function freeKey(event) {
  const key = event.key.toLowerCase();
  const taken = PLAIN[key] || /[\s\d]/u.test(key) || event.ctrlKey || event.metaKey || event.altKey;
  return [...key].length === 1 && !taken ? key : null;
}

/** Give a command a key; the command that had it gets the key that becomes free. */
export function giveKey(name, key) {
  const other = COMMANDS.find(([known]) => keyOf(known) === key)?.[0];
  kept.set("keys", { ...kept.get("keys", {}), ...(other && { [other]: keyOf(name) }), [name]: key });
}

export const resetKeys = () => kept.set("keys", {});

/** Return the rows of the table of keys. */
export const keyRows = () => [...FIXED, ...COMMANDS.map(([name, , does]) => [keyName(keyOf(name)), does])];

/** Return the command of a key press, with its index, step, direction or shift; null for the browser's own keys. */
export function commandOf(event) {
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key === "z") return { name: event.shiftKey ? "redo" : "undo" };
    const name = CONTROL[key];
    return name ? { name } : null;
  }
  if (key === "tab") return event.altKey ? null : { name: "walk", step: event.shiftKey ? -1 : 1 };
  if (ARROWS[key]) {
    const by = event.shiftKey ? 10 : 1;
    return { name: event.altKey ? "resize" : "nudge", by: ARROWS[key].map((step) => step * by) };
  }
  if (event.altKey) return null;
  const digit = /^(?:Digit|Numpad)(\d)$/u.exec(event.code);
  if (digit && !event.shiftKey) return { name: "class", index: (Number(digit[1]) + 9) % 10 };
  if (key === " ") return { name: "space" };
  const of = (wanted) => COMMANDS.find(([name]) => keyOf(name) === wanted)?.[0];
  const name = of(key) ?? PLAIN[key] ?? of(CODES[event.code]);
  return name ? { name, shift: event.shiftKey } : null;
}
