// The dashboards of CloudWatch, drawn by uPlot.

import { fill, html } from "/static/dom.js";

const SPANS = [[15, "15 minutes"], [60, "1 hour"], [180, "3 hours"], [1440, "1 day"]];
const COLORS = ["#1f77b4", "#e6772e", "#2ca02c", "#d62f4b", "#9467bd", "#8c6d4f", "#e377c2", "#7f8a99", "#b5a91c", "#17a5bf", "#4c5fd5"];
const HEIGHT = 170;
const format = (value) => (value === null || value === undefined ? "–" : String(Math.round(value * 100) / 100));

/** Series as uPlot takes them: all moments, then the values of each series at these, null where it has none. */
export const aligned = (series) => {
  const moments = [...new Set(series.flatMap(({ points }) => points.map(([at]) => at)))].sort((a, b) => a - b);
  return [moments, ...series.map(({ points }) => {
    const values = new Map(points);
    return moments.map((at) => values.get(at) ?? null);
  })];
};

const draw = (uPlot, place, series, minutes) => {
  const style = getComputedStyle(document.body);
  const [text, line] = [style.getPropertyValue("--quiet"), style.getPropertyValue("--line")];
  const now = Date.now() / 1000;
  const axis = { stroke: text, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, size: 46, font: "11px system-ui" };
  const right = series.some((one) => one.right);
  new uPlot({
    width: place.clientWidth, height: HEIGHT, padding: [8, right ? 0 : 12, 0, 0],
    scales: { x: { min: now - minutes * 60, max: now }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(high ?? 1, 1)] }, right: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(high ?? 1, 1)] } },
    axes: [{ ...axis, size: 30 }, axis, ...(right ? [{ ...axis, scale: "right", side: 1, grid: { show: false } }] : [])],
    legend: { show: false }, cursor: { show: false },
    series: [{}, ...series.map((one, i) => ({ scale: one.right ? "right" : "y", stroke: COLORS[i % COLORS.length], width: 1.5, spanGaps: true, dash: i >= COLORS.length ? [4, 3] : undefined, points: { show: one.points.length < 60, size: 5 } }))],
  }, aligned(series), place);
};

export const chartsPage = ({ place, read }) => {
  const length = html("select", { "aria-label": "Length of time", onchange: () => refresh() },
    SPANS.map(([minutes, words]) => html("option", { value: minutes, selected: minutes === 60 }, `Last ${words}`)));
  const list = html("div");
  place.append(html("div", { class: "heading" }, html("h1", {}, "Charts"), html("span", { class: "tools" }, length)), list);
  let library;

  const chart = ({ title, series, failed }, drawings, minutes) => {
    const some = series.map((one, i) => ({ ...one, color: COLORS[i % COLORS.length] })).filter((one) => one.points.length);
    const canvas = html("div", { class: "chart" });
    if (some.length) drawings.push(() => draw(library, canvas, series, minutes));
    return html("section", { class: "card" }, html("h3", {}, title), some.length ? canvas : html("p", {}, failed ? `CloudWatch: ${failed}` : "No datapoints."),
      some.length > 0 && html("ul", { class: "legend" }, some.map(({ label, points, color }) => {
        const swatch = html("i");
        swatch.style.background = color;
        return html("li", {}, swatch, `${label} `, html("b", {}, format(points.at(-1)[1])));
      })));
  };

  const refresh = async () => {
    library ??= (await import("/static/uPlot.esm.js").catch(() => { throw new Error("Charts need a library: run make setup-portal, and load this page again."); })).default;
    const minutes = Number(length.value);
    const { dashboards } = await read("charts", { number: minutes });
    if (minutes !== Number(length.value)) return;
    const drawings = [];
    const parts = dashboards.flatMap(({ name, widgets }) => [
      html("h2", {}, name),
      html("div", { class: "charts" }, widgets.map((one) => one.text === undefined ? chart(one, drawings, minutes) : html("h2", { class: "text" }, one.text.replace(/^#+ */gm, "")))),
    ]);
    fill(list, parts.length ? parts : html("p", {}, "There are no dashboards."));
    for (const drawing of drawings) drawing();
  };
  return { title: "Charts", every: 10_000, refresh };
};
