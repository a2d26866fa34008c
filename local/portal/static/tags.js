// Place the names of boxes beside their boxes where they hide no object, or leave them out.

const HEIGHT = 15;
const PAD = 4;
const measure = document.createElement("canvas").getContext("2d");
const widths = new Map();

export function textWidth(text) {
  if (!widths.has(text)) {
    measure.font = "600 11px system-ui, sans-serif";
    widths.set(text, Math.ceil(measure.measureText(text).width) + 2 * PAD);
  }
  return widths.get(text);
}

const overlap = (a, b) =>
  Math.max(0, Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x)) *
  Math.max(0, Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y));

/**
 * Return places for tags on the screen, as id → {x, y, w, h}. `items`: id, text, box (x, y, w, h on the screen),
 * must, and widest: the largest width of a tag, in widths of its box.
 * Earlier items choose first. An item without `must` gets no tag if its box is small or all places cover others.
 */
export function placeTags(items, room) {
  const taken = [];
  const places = new Map();
  for (const { id, text, box, must, widest } of items) {
    if (box.x > room.w || box.y > room.h || box.x + box.w < 0 || box.y + box.h < 0) continue;
    const w = textWidth(text);
    // A wider tag hides the surroundings of a distant object, whose colour tells its class.
    if (!must && w > widest * box.w) continue;
    const candidates = [
      { x: box.x - 1, y: box.y - HEIGHT - 2 },
      { x: box.x + box.w - w + 1, y: box.y - HEIGHT - 2 },
      { x: box.x - 1, y: box.y + box.h + 2 },
      { x: box.x + box.w - w + 1, y: box.y + box.h + 2 },
      { x: box.x + box.w + 3, y: box.y },
      { x: box.x - w - 3, y: box.y },
    ].map((at) => ({ ...at, w, h: HEIGHT }));
    let best;
    let least = Infinity;
    for (const place of candidates) {
      if (place.x < 0 || place.y < 0 || place.x + w > room.w || place.y + HEIGHT > room.h) continue;
      let cost = 0;
      for (const other of items) if (other.id !== id) cost += overlap(place, other.box);
      for (const tag of taken) cost += 4 * overlap(place, tag);
      if (cost < least) [best, least] = [place, cost];
      if (cost === 0) break;
    }
    if (best === undefined && must) best = { x: Math.max(0, box.x) + 3, y: Math.max(0, box.y) + 3, w, h: HEIGHT };
    if (best === undefined || (!must && least > 0.25 * w * HEIGHT)) continue;
    taken.push(best);
    places.set(id, best);
  }
  return places;
}
