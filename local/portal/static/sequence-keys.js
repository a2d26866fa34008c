// The keys of the sequence page and their commands, also for the table of keys (?).

const KEYS = [
  ["Enter", "send the strip as it is and open the next one"],
  ["Space", "play, or stop"],
  ["← · →", "frame before · after (⇧: ten frames)"],
  ["Home · End", "first · last frame of the selected track, or of the strip"],
  ["Tab · ⇧ Tab", "next · previous uncertain place; without one, the next track that is not accepted"],
  ["↑ · ↓", "track above · below"],
  ["A", "accept the track, and go on to the next uncertain place"],
  ["drag", "in the selected box: move it; at its handles: resize it. The whole track follows"],
  ["Alt ← ↑ → ↓", "move the box by 1 pixel (⇧: resize it at the right and bottom edge)"],
  ["drag elsewhere", "draw a new object; in a second frame, draw it again: the frames between are filled"],
  ["K", "key frame: the box is right here (again: no key frame)"],
  ["R", "the model's own box is right here"],
  [", · .", "key frame before · after"],
  ["1 … 9, 0", "class of the whole track; if none is selected, of the next new object"],
  ["[ · ]", "the track begins · ends here: shorten or extend it"],
  ["X", "no box in this frame"],
  ["S", "split: from this frame on it is another object"],
  ["M", "merge with another track: click it, or Enter for the one that is marked"],
  ["Delete, ⌫", "delete the whole track"],
  ["U", "unsure: send the strip for a second review"],
  ["Ctrl Z · Ctrl ⇧ Z", "undo · redo"],
  ["Esc", "give up, or clear the selection"],
  ["H", "hold: hide all boxes"],
  ["Z · F", "zoom to the box · show the whole image"],
  ["wheel, middle button + drag", "zoom at the pointer, pan"],
  ["< · >", "play slower · faster"],
  ["- · =", "darker · brighter"],
  ["L", "list all strips, also to change those that you sent"],
  ["F6", "move the keyboard to the side panel and back"],
  ["?", "show this table"],
];

const PLAIN = {
  enter: "send", " ": "play", a: "accept", k: "key", r: "revert", ",": "keyBefore", ".": "keyAfter", "[": "start",
  "]": "end", x: "hide", s: "split", m: "merge", delete: "delete", backspace: "delete", escape: "escape", h: "bare",
  z: "zoom", f: "fit", "<": "slower", ">": "faster", "-": "darker", "=": "brighter", "+": "brighter", l: "strips",
  f6: "panel", "?": "help", u: "unsure",
};
const ARROWS = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] };
// For keyboards without these characters, by the key's position.
const CODES = { BracketLeft: "[", BracketRight: "]", Minus: "-", Equal: "=" };

/** Return the rows of the table of keys. */
export const keyRows = () => KEYS;

/** Return the command of a key press, its name first; null for the browser's own keys. */
export function commandOf(event) {
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key === "z") return [event.shiftKey ? "redo" : "undo"];
    return key === "y" ? ["redo"] : null;
  }
  if (ARROWS[key]) {
    const [x, y] = ARROWS[key];
    if (event.altKey) return [event.shiftKey ? "resize" : "nudge", x, y];
    return x ? ["step", x * (event.shiftKey ? 10 : 1)] : ["track", y];
  }
  if (event.altKey) return null;
  if (key === "tab") return ["walk", event.shiftKey ? -1 : 1];
  if (key === "home" || key === "end") return ["edge", key];
  const digit = /^(?:Digit|Numpad)(\d)$/u.exec(event.code);
  if (digit && !event.shiftKey) return ["class", (Number(digit[1]) + 9) % 10];
  const name = PLAIN[key] ?? PLAIN[CODES[event.code]];
  return name ? [name] : null;
}
