// The keys and their commands, for the keyboard and for the table of keys (?).

export const KEYS = [
  ["Enter", "send the frame as it is and open the next one"],
  ["Tab · ⇧ Tab", "next · previous box to review, most uncertain first"],
  ["Space, A", "accept the box and go to the next one"],
  ["1 … 9, 0", "class of the selected box; if none is selected, of the next new box"],
  ["Delete, ⌫", "delete the selected box"],
  ["← ↑ → ↓", "move by 1 pixel (⇧: 10 pixels; Alt: resize at the right and bottom edge)"],
  ["drag", "draw a box; in the selected box: move it; at its handles: resize it"],
  ["E", "add a box by four clicks: top, left, bottom, right (Esc cancels)"],
  ["G", "add a candidate: the selected, the one under the pointer, or the most confident"],
  ["[ · ]", "show more · fewer candidates"],
  ["O · T · I", "mark as occluded · as truncated · set class ignore"],
  ["U", "unsure: send the frame for a second review"],
  ["B · L", "back to the frame before · list of all frames, also to change those that you sent"],
  ["H", "hold: hide all boxes"],
  ["P · N", "hold: show the previous · next frame of this camera"],
  ["wheel · F", "zoom at the pointer · show the whole image"],
  ["Space or middle button + drag", "pan"],
  ["- · =", "darker · brighter"],
  ["Ctrl Z · Ctrl ⇧ Z", "undo · redo"],
  ["Esc", "clear the selection"],
  ["F6", "move the keyboard to the side panel and back"],
  ["?", "show this table"],
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
  b: "back",
  l: "frames",
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
// For keyboards without these characters, by the key's position.
const CODES = { BracketLeft: "more", BracketRight: "fewer", Minus: "darker", Equal: "brighter" };

/** Return the command of a key press, with its index, step or direction; null for the browser's own keys. */
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
