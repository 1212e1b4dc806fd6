// From runs to figures: what Plotly is given. Nothing here touches the page.

import { faint, plain, style, ticks } from "plotly";

const percent = (values) => values.map((value) => (value === null ? null : 100 * value));
const line = (i, width = 2) => ({ color: style(i).color, dash: style(i).dash, width });

/** Accuracy task by task, one bar per run beside the zero-shot and fine-tuned models. */
export function perTask(compared, kind) {
  const shown = compared.filter(({ details }) => details[kind.key]);
  if (!shown.length) return null;
  const [{ details: first }] = shown;
  const bars = shown.map(({ name, index, details }) => ({
    type: "bar", name: plain(name), x: ticks(details.tasks), y: percent(details[kind.key]),
    marker: { color: style(index).color, pattern: { shape: ["", "/", "x", "."][Math.floor(index / 7) % 4] } },
  }));
  const marks = [["zeroshot", "zero-shot", "line-ew-open"], ["finetuned", "fine-tuned", "diamond-open"]];
  const references = marks.map(([key, name, symbol]) => ({
    type: "scatter", mode: "markers", name, x: ticks(first.tasks), y: percent(first[key]),
    marker: { symbol, size: 12, color: "#777777", line: { width: 2 } },
  }));
  return {
    data: [...bars, ...references],
    layout: { title: kind.title, barmode: "group", yaxis: { title: { text: "test top-1, %" }, range: [0, 102] } },
  };
}

/** Merged accuracy divided by the fine-tuned model's, around a circle of tasks. */
export function radar(compared) {
  const shown = compared.filter(({ details }) => details.merged && details.tasks.length > 2);
  if (!shown.length) return null;
  const closed = (values) => [...values, values[0]];
  const data = shown.map(({ name, index, details }) => ({
    type: "scatterpolar", name: plain(name), mode: "lines+markers", line: line(index),
    marker: { symbol: style(index).symbol },
    theta: closed(ticks(details.tasks)),
    r: closed(details.merged.map((value, i) => (details.finetuned[i] ? value / details.finetuned[i] : null))),
  }));
  const top = Math.max(1, ...data.flatMap(({ r }) => r));
  return { data, layout: { title: "Normalized accuracy by task", polar: { radialaxis: { range: [0, top] } } } };
}

/** Mean validation accuracy against the scaling coefficient, the chosen one marked. */
export function alphaCurves(compared) {
  const shown = compared.filter(({ details }) => details.curve);
  if (!shown.length) return null;
  const data = shown.map(({ name, index, details }) => ({
    type: "scatter", mode: "lines+markers", name: plain(name), line: line(index),
    x: details.curve.map(([alpha]) => alpha), y: percent(details.curve.map(([, value]) => value)),
    marker: {
      symbol: style(index).symbol,
      size: details.curve.map(([alpha]) => (alpha === details.alpha ? 13 : 5)),
    },
  }));
  const axes = { xaxis: { title: { text: "scaling coefficient α" } }, yaxis: { title: { text: "validation top-1, %" } } };
  return { data, layout: { title: "α on validation data (chosen: large)", ...axes } };
}

/** Cosines between task vectors. */
export function cosines(details) {
  return heatMap("Cosines of task vectors", details.cosines, details.tasks, details.tasks, [-1, 1]);
}

/** Coefficients of the basis encoder. */
export function encoder(details) {
  const atoms = details.encoder[0].map((_, m) => `atom ${m + 1}`);
  const most = Math.max(...details.encoder.flat().map(Math.abs));
  return heatMap("Basis encoder", details.encoder, details.sources, atoms, [-most, most]);
}

function heatMap(title, z, rows, columns, [zmin, zmax]) {
  const colorscale = [[0, "#D55E00"], [0.5, "#F7F7F7"], [1, "#0072B2"]];
  return {
    data: [{ type: "heatmap", z, y: ticks(rows), x: ticks(columns), zmin, zmax, colorscale }],
    layout: { title, height: Math.max(320, 100 + 20 * rows.length), yaxis: { autorange: "reversed" } },
  };
}

/** One metric against another number; equal settings but for seeds are one point with a band around it. */
export function overview(points, labels) {
  const series = grouped(points, (point) => point.series);
  const data = [...series.keys()].sort().flatMap((name, i) => {
    const at = [...grouped(series.get(name), ({ x }) => x)].sort(([a], [b]) => a - b);
    const x = at.map(([value]) => value);
    const spread = at.map(([, found]) => meanAndDeviation(found.map(({ y }) => y)));
    const mean = spread.map(([value]) => value);
    const band = {
      type: "scatter", mode: "lines", x: [...x, ...[...x].reverse()], fill: "toself", fillcolor: faint(i),
      y: [...spread.map(([m, s]) => m + s), ...spread.map(([m, s]) => m - s).reverse()],
      line: { width: 0 }, hoverinfo: "skip", showlegend: false, legendgroup: String(i),
    };
    const main = {
      type: "scatter", mode: "lines+markers", name: plain(name), x, y: mean, line: line(i),
      marker: { symbol: style(i).symbol, size: 8 }, legendgroup: String(i),
      customdata: at.map(([, found], k) => [found.length, spread[k][1]]),
      hovertemplate: "%{x}: %{y:.4g} ± %{customdata[1]:.2g} (%{customdata[0]} runs)",
    };
    return [band, main];
  });
  const [xaxis, yaxis] = [labels.x, labels.y].map((text) => ({ title: { text: plain(text) } }));
  return { data, layout: { title: plain(`${labels.y} against ${labels.x}`), xaxis, yaxis } };
}

function grouped(values, key) {
  const groups = new Map();
  for (const value of values) {
    if (!groups.has(key(value))) groups.set(key(value), []);
    groups.get(key(value)).push(value);
  }
  return groups;
}

function meanAndDeviation(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return [mean, values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0];
}
