// The selected runs beside each other: what was asked differently, and what came of it.

import { alphaCurves, cosines, encoder, perTask, radar } from "figures";
import { draw, erase } from "plotly";
import { loadDetails } from "runs";
import { readable } from "table";

const $ = (id) => document.getElementById(id);
const KINDS = [
  { key: "merged", title: "Merged model, task by task" },
  { key: "forgotten", title: "Accuracy on the forgotten task" },
  { key: "control", title: "Accuracy on the control after forgetting" },
];
const MOST = 12;
let wanted = 0;

/** Show a comparison of the first of `selected`; nothing if there are none. */
export async function compare(selected) {
  const turn = ++wanted;
  const runs = selected.slice(0, MOST);
  $("compare").hidden = runs.length === 0;
  $("compare-title").textContent = "Comparison" + (selected.length > MOST ? ` of the first ${MOST} runs selected` : "");
  if (!runs.length) return;
  difference(runs);
  const names = shortNames(runs);
  const compared = await Promise.all(
    runs.map(async (run, index) => ({ run, index, name: names[index], details: await loadDetails(run.key) })),
  );
  if (turn !== wanted) return;
  const done = compared.filter(({ run }) => run.status === "completed");
  const figures = done.length ? [...KINDS.map((kind) => perTask(done, kind)), radar(done), alphaCurves(done)] : [];
  await show($("comparison"), figures);
  await matrices(done);
}

async function matrices(done) {
  const choice = $("matrices-of");
  const before = choice.value;
  choice.replaceChildren(...done.map(({ run, name }) => new Option(name, run.key)));
  if (done.some(({ run }) => run.key === before)) choice.value = before;
  const drawChosen = async () => {
    const chosen = done.find(({ run }) => run.key === choice.value);
    await show($("matrices"), chosen ? [cosines(chosen.details), encoder(chosen.details)] : []);
  };
  choice.onchange = drawChosen;
  await drawChosen();
}

async function show(place, figures) {
  const kept = figures.filter(Boolean);
  while (place.children.length > kept.length) await erase(place.lastElementChild);
  while (place.children.length < kept.length) place.append(document.createElement("div"));
  for (const [i, figure] of kept.entries()) await draw(place.children[i], figure);
}

/** A table of the settings that differ, one column per run. */
function difference(runs) {
  const keys = [...new Set(runs.flatMap(({ config }) => Object.keys(config)))];
  const values = (key) => runs.map(({ config }) => readable(config[key]));
  const differing = keys.filter((key) => new Set(values(key)).size > 1);
  const table = document.createElement("table");
  row(table.createTHead(), "th", ["setting", ...runs.map(({ name }) => name)]);
  const body = table.createTBody();
  for (const key of differing) row(body, "td", [key, ...values(key)]);
  if (!differing.length) row(body, "td", [runs.length > 1 ? "no setting differs" : "select another run to compare"]);
  const errors = runs.map(({ error }) => error ?? "");
  if (errors.some(Boolean)) row(body, "td", ["error", ...errors]);
  $("difference").replaceChildren(table);
}

function row(section, kind, texts) {
  const line = section.insertRow();
  for (const text of texts) line.append(Object.assign(document.createElement(kind), { textContent: text }));
}

/** Names without what all of them begin with. */
function shortNames(runs) {
  const parts = runs.map(({ name }) => name.split("-"));
  let same = 0;
  while (runs.length > 1 && parts.every((p) => p.length > same + 1 && p[same] === parts[0][same])) same += 1;
  return parts.map((p) => p.slice(same).join("-"));
}
