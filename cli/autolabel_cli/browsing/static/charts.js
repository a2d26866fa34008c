"use strict";

const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Count values in bins; `edges` ascend, and the last bin takes all that is above. */
function histogram(values, edges) {
  const counts = new Array(edges.length).fill(0);
  for (const value of values) {
    let bin = edges.length - 1;
    while (bin > 0 && value < edges[bin]) bin--;
    counts[bin]++;
  }
  return counts;
}

/** Draw bars upwards, and those of `down` downwards. `labels`: under the first, the middle and the last bar. */
function barChart(title, up, labels, down = []) {
  const [width, height, room] = [420, 120, 16];
  const most = Math.max(1, ...up, ...down);
  const base = down.length ? height / 2 : height;
  const scale = base / most;
  const step = width / up.length;
  const bars = up.map((count, at) => bar(at, count, "bar", base - count * scale));
  bars.push(...down.map((count, at) => bar(at, count, "bar down", base)));
  function bar(at, count, kind, top) {
    const shape = svg("rect", { class: kind, x: at * step + 1, y: top, width: Math.max(step - 2, 1), height: count * scale });
    shape.append(svg("title", {}, `${count.toLocaleString()}`));
    return shape;
  }
  const places = [[0, "start"], [width / 2, "middle"], [width, "end"]];
  const texts = labels.map((text, at) => svg("text", { x: places[at][0], y: height + 13, "font-size": 11, "text-anchor": places[at][1] }, text));
  const drawing = svg("svg", { width, height: height + room, viewBox: `0 0 ${width} ${height + room}`, role: "img", "aria-label": title }, ...bars, ...texts);
  return element("figure", {}, element("figcaption", { textContent: title }), drawing);
}
