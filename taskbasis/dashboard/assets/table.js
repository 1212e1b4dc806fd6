// The table of all runs: every setting that differs, every metric; sort, filter, choose columns, select.

import DataTable from "datatables";

const SHOWN = ["basis", "M", "scenario.size", "seed", "merge.inputs"];
const METRICS = ["addition/test/top1", "addition/test/normalized_top1", "addition/alpha", "basis/relative_error",
  "negation/test/target_top1", "negation/test/control_top1", "seconds"];

/** Text with nothing in it that HTML would understand. */
export function escaped(text) {
  const entities = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return String(text).replace(/[&<>"']/g, (character) => entities[character]);
}

/** The value of a setting or metric as text. */
export function readable(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  return Math.abs(value) >= 1e-3 && Math.abs(value) < 1e5 ? String(+value.toPrecision(5)) : value.toExponential(3);
}

/** Make the table of `runs` in `place`; `changed` hears of another selection, `filtered` of other rows. */
export function makeTable(place, runs, { settings, metrics }, { changed, filtered }) {
  const element = document.createElement("table");
  element.className = "display compact nowrap";
  const names = ["", "run", "status", ...settings, ...metrics, "started"];
  const head = element.createTHead().insertRow();
  for (const name of names) head.append(Object.assign(document.createElement("th"), { textContent: name, scope: "col" }));
  place.replaceChildren(element);
  const table = new DataTable(element, {
    data: runs,
    rowId: ({ key }) => `run-${key}`,
    columns: [
      { data: null, orderable: false, searchable: false, className: "select", defaultContent: "",
        render: DataTable.render.select(), columnControl: [] },
      { data: nameCell, name: "run" },
      { data: (run) => escaped(run.status) },
      ...settings.map((key) => column(key, (run) => run.config[key], SHOWN.includes(key) || settings.length <= 6)),
      ...metrics.map((key) => column(key, (run) => run.metrics[key], METRICS.includes(key) || metrics.length <= 6)),
      { data: (run) => escaped(run.started), visible: false },
    ],
    columnControl: ["order", ["orderAsc", "orderDesc", "spacer", "search"]],
    order: [], ordering: { indicators: false, handler: false },
    select: { style: "multi", selector: "td.select", headerCheckbox: "select-page" },
    layout: {
      topStart: { buttons: [{ extend: "colvis", text: "columns" }, { text: "clear selection", action: () => table.rows().deselect() }] },
      topEnd: { search: { text: "", placeholder: "filter" } },
      bottomStart: ["info", "pageLength"], bottomEnd: "paging",
    },
    pageLength: 25, lengthMenu: [10, 25, 100, 500], deferRender: true, autoWidth: false,
  });
  table.on("select deselect", () => changed(table.rows({ selected: true }).data().toArray()));
  table.on("search", () => filtered());
  return table;
}

/** Show other runs in a table, keeping what is selected. */
export function refresh(table, runs) {
  const selected = new Set(table.rows({ selected: true }).data().toArray().map(({ key }) => key));
  table.clear().rows.add(runs).draw(false);
  table.rows((_, run) => selected.has(run.key)).select();
}

function column(key, value, visible) {
  const data = (run, kind) => {
    const found = value(run);
    const number = typeof found === "number";
    if (kind === "sort" || kind === "type") return number ? found : escaped(readable(found));
    return number && kind === "filter" ? found : escaped(readable(found));
  };
  return { data, name: key, visible, defaultContent: "" };
}

function nameCell(run, kind) {
  const name = escaped(run.name);
  if (kind !== "display" || !run.link) return name;
  return `<a href="${escaped(run.link)}" target="_blank" rel="noopener">${name}</a>`;
}
