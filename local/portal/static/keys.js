// Which key does what: the one place that both the keyboard and the table of keys (?) read.

export const KEYS = [
  ["Enter", "send the frame as it is, and go to the next one"],
  ["Tab · ⇧ Tab", "next · previous box that is not reviewed, the most doubtful first"],
  ["Space, A", "the box is right: accept it and go on"],
  ["1 … 9, 0", "class of the selected box; without one, of the next box"],
  ["Delete, ⌫", "delete the selected box"],
  ["← ↑ → ↓", "move by a pixel (⇧ 10, Alt: resize at the right and bottom edge)"],
  ["drag", "draw a box; inside the selected one, move it; at its handles, resize it"],
  ["E", "add by four clicks: top, left, bottom, right (Esc gives up)"],
  ["G", "make a box of the candidate that is selected, pointed at, or most confident"],
  ["[ · ]", "show more · fewer candidates"],
  ["O · T · I", "occluded · truncated · class ignore"],
  ["U", "unsure: send the frame for a second look"],
  ["H", "hold: hide all boxes"],
  ["P · N", "hold: previous · next frame of this camera"],
  ["wheel · F", "zoom at the pointer · the whole picture"],
  ["Space or middle button + drag", "pan"],
  ["- · =", "darker · brighter"],
  ["Ctrl Z · Ctrl ⇧ Z", "undo · redo"],
  ["Esc", "select nothing"],
  ["F6", "to the side panel and back, for the keyboard"],
  ["?", "this table"],
];

const PLAIN = {
  enter: "send",
  a: "accept",
  delete: "delete",
  backspace: "delete",
  g: "promote",
  e: "extremes",
  o: "occluded",
  t: "truncated",
  i: "ignore",
  u: "unsure",
  h: "hide",
  p: "before",
  n: "after",
  f: "fit",
  "-": "darker",
  "=": "brighter",
  "+": "brighter",
  "[": "more",
  "]": "fewer",
  escape: "escape",
  f6: "panel",
  "?": "help",
};
const ARROWS = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] };
// Where a keyboard has no such keys of its own.
const CODES = { BracketLeft: "more", BracketRight: "fewer", Minus: "darker", Equal: "brighter" };

/** What a key press asks for: a name and, for digits and arrows, what of it; null for what is the browser's. */
export function commandOf(event) {
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key === "z") return { name: event.shiftKey ? "redo" : "undo" };
    return key === "y" ? { name: "redo" } : null;
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
  const name = PLAIN[key] ?? CODES[event.code];
  return name ? { name } : null;
}
