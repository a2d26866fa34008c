"use strict";

const CROPS = 12;
const TRACKS_SHOWN = 200;

/** Gather the tracks of some frames: for each the places of its boxes, in the order of time. */
function gatherTracks(content, frames) {
  const tracks = new Map();
  for (const at of frames) {
    content.frames[at].boxes.forEach((box, index) => {
      if (box[7] < 0) return;
      if (!tracks.has(box[7])) tracks.set(box[7], []);
      tracks.get(box[7]).push({ at, box: index });
    });
  }
  const time = at => content.frames[at].nanoseconds;
  return [...tracks].map(([track, places]) => {
    places.sort((a, b) => (time(a.at) < time(b.at) ? -1 : 1));
    const names = places.map(place => content.frames[place.at].boxes[place.box][0]);
    const seconds = Number(time(places.at(-1).at) - time(places[0].at)) / 1e9;
    return { id: content.tracks[track], name: names[0], changes: names.filter((name, n) => n && name !== names[n - 1]).length, places, seconds };
  });
}

/** Draw a crop of a frame around a box, with some of its surroundings. */
function crop(content, { at, box }) {
  const frame = content.frames[at];
  const [name, left, top, width, height] = frame.boxes[box];
  const margin = 0.25 * Math.max(width, height);
  const view = `${left - margin} ${top - margin} ${width + 2 * margin} ${height + 2 * margin}`;
  const image = svg("image", { href: frame.image, width: frame.width, height: frame.height });
  const outline = svg("rect", { x: left, y: top, width, height, stroke: content.colors[name] });
  return svg("svg", { viewBox: view }, image, outline);
}

/** Show tracks as filmstrips; a crop opens its frame. Crops are made when their track comes into view. */
function showTracks(section, content, frames, open) {
  const tracks = gatherTracks(content, frames).sort((a, b) => b.changes - a.changes || b.places.length - a.places.length);
  const watcher = new IntersectionObserver(entries => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      const { places } = target.track;
      const count = Math.min(CROPS, places.length);
      const chosen = Array.from({ length: count }, (_, n) => places[Math.round((n * (places.length - 1)) / Math.max(1, count - 1))]);
      target.lastElementChild.append(...chosen.map(place =>
        element("button", { title: content.frames[place.at].clock, onclick: () => open(place.at) }, crop(content, place))));
    }
  }, { root: section, rootMargin: "200px" });
  const rows = tracks.slice(0, TRACKS_SHOWN).map(track => {
    const changes = track.changes ? `, its class changes ${track.changes}×` : "";
    const said = ` ${track.id} · ${track.places.length} frames, ${track.seconds.toFixed(1)} s, from ${content.frames[track.places[0].at].clock}${changes}`;
    const row = element("div", { className: "track", track },
      element("p", {}, element("b", { textContent: content.classes[track.name] }), element("span", { textContent: said })),
      element("div"));
    watcher.observe(row);
    return row;
  });
  const shown = tracks.length > rows.length ? `the first ${rows.length} of ${tracks.length.toLocaleString()}` : `${tracks.length.toLocaleString()}`;
  const head = element("p", { textContent: `${shown} tracks of these frames; those whose class changes come first, then the longest` });
  section.replaceChildren(head, bornAndEnded(content, tracks, frames), ...rows);
}

/** Draw how many tracks begin and end, over the time of the frames. */
function bornAndEnded(content, tracks, frames) {
  const times = frames.map(at => content.frames[at].seconds_since);
  const first = times.reduce((a, b) => Math.min(a, b), Infinity);
  const last = times.reduce((a, b) => Math.max(a, b), -Infinity);
  const bins = 60;
  const edges = Array.from({ length: bins }, (_, n) => first + (n * (last - first)) / bins);
  const begun = histogram(tracks.map(track => content.frames[track.places[0].at].seconds_since), edges);
  const ended = histogram(tracks.map(track => content.frames[track.places.at(-1).at].seconds_since), edges);
  return barChart("Tracks that begin (up) and end (down), over time", begun, [`${first.toFixed(0)} s`, "", `${last.toFixed(0)} s`], ended);
}
