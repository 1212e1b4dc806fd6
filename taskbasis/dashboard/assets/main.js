// The page: loads the runs, keeps table, comparison and overview in step, looks for new runs.

import { compare } from "compare";
import { overview } from "figures";
import { draw } from "plotly";
import { live, loadTable } from "runs";
import { makeTable, readable, refresh } from "table";

const $ = (id) => document.getElementById(id);
const EVERY = 3000;
const PAUSE = 150;
const SEEDS = /(^|\.)seed$/;
const ATOMS = ["M", "basis.M"];
const Y = ["addition/test/normalized_top1", "addition/test/top1", "negation/test/target_top1"];
const X = ["M", "basis/stored_bytes", "seconds"];
const ALL = "all settings but seeds";
const page = { runs: [], columns: null, table: null, selected: [], timer: 0 };

/** Show the page. */
export async function start() {
  $("theme").onclick = () => setDark(!document.documentElement.classList.contains("dark"));
  const system = matchMedia("(prefers-color-scheme: dark)");
  system.onchange = () => setDark(system.matches);
  setDark(system.matches);
  for (const id of ["x", "y", "series"]) $(id).onchange = drawOverview;
  await look();
  if (live) setInterval(look, EVERY);
}

async function look() {
  try {
    const found = await loadTable();
    if (found) show(found);
  } catch (error) {
    $("status").textContent = `the server does not answer (${error.message})`;
  }
}

function show({ runs, unreadable }) {
  page.runs = runs;
  const columns = columnsOf(runs);
  if (page.table && JSON.stringify(columns) === JSON.stringify(page.columns)) {
    refresh(page.table, runs);
  } else {
    page.columns = columns;
    page.table = makeTable($("table"), runs, columns, { changed: select, filtered: drawSoon });
    choices("y", columns.metrics, Y);
    choices("x", [...columns.numbers, ...columns.metrics], X);
    choices("series", [ALL, ...columns.settings], [ALL]);
  }
  const failed = runs.filter(({ status }) => status !== "completed").length;
  $("status").textContent = `${runs.length} runs${failed ? `, ${failed} failed` : ""}${live ? "" : ", a report"}`;
  list($("unreadable"), unreadable.map(({ path, reason }) => `left out: ${path}: ${reason}`));
  shared(runs, columns);
  requestAnimationFrame(() => setTimeout(drawOverview));
}

/** The settings that differ, the numeric ones among them, and all metrics. */
function columnsOf(runs) {
  const keys = (part) => [...new Set(runs.flatMap((run) => Object.keys(run[part])))];
  const differs = (key) => new Set(runs.map(({ config }) => JSON.stringify(config[key]))).size > 1;
  const settings = keys("config").filter((key) => differs(key) || runs.length === 1);
  const numeric = (key) => runs.some(({ config }) => typeof config[key] === "number");
  return { settings, numbers: settings.filter(numeric), metrics: keys("metrics").sort() };
}

function select(runs) {
  page.selected = runs;
  compare(runs);
}

function drawSoon() {
  clearTimeout(page.timer);
  page.timer = setTimeout(drawOverview, PAUSE);
}

function drawOverview() {
  const [x, y, by] = ["x", "y", "series"].map((id) => $(id).value);
  if (!x || !y) return;
  const runs = page.table.rows({ search: "applied" }).data().toArray();
  const keys = by === ALL ? telling(runs, x) : [by];
  const points = runs
    .map(({ config, metrics }) => ({
      x: x in metrics ? metrics[x] : config[x],
      y: metrics[y],
      series: keys.map((key) => readable(config[key])).filter(Boolean).join(" · ") || "all runs",
    }))
    .filter((point) => typeof point.x === "number" && typeof point.y === "number");
  return draw($("overview"), overview(points, { x, y }));
}

/** The settings that tell lines apart: neither seeds, nor the axis, nor what follows from settings before. */
function telling(runs, x) {
  const kept = [];
  for (const key of page.columns.settings) {
    if (SEEDS.test(key) || key === x || (ATOMS.includes(x) && ATOMS.includes(key))) continue;
    const values = new Map();
    const follows = runs.every(({ config }) => {
      const before = JSON.stringify(kept.map((earlier) => config[earlier]));
      const value = JSON.stringify(config[key]);
      if (!values.has(before)) values.set(before, value);
      return values.get(before) === value;
    });
    if (!follows) kept.push(key);
  }
  return kept;
}

function choices(id, names, preferred) {
  const before = $(id).value;
  $(id).replaceChildren(...names.map((name) => new Option(name, name)));
  const first = [before, ...preferred].find((name) => names.includes(name));
  if (first) $(id).value = first;
}

function shared(runs, { settings }) {
  const same = runs.length > 1 ? Object.entries(runs[0].config).filter(([key]) => !settings.includes(key)) : [];
  $("shared").hidden = !same.length;
  const texts = same.flatMap(([key, value]) => [["dt", key], ["dd", readable(value)]]);
  $("shared").lastElementChild.replaceChildren(
    ...texts.map(([kind, text]) => Object.assign(document.createElement(kind), { textContent: text })),
  );
}

function list(element, texts) {
  element.hidden = !texts.length;
  element.replaceChildren(...texts.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
}

function setDark(dark) {
  document.documentElement.classList.toggle("dark", dark);
  $("theme").setAttribute("aria-pressed", String(dark));
  if (!page.table) return;
  drawOverview();
  compare(page.selected);
}
