// Where runs come from: elements of a report, or the server that sent the page.

const embedded = document.getElementById("runs-data");
let packed = null;
let tag = null;
const known = new Map();

export const live = embedded === null;

/** The table's content, or null if nothing changed since the last call. */
export async function loadTable() {
  if (!live) return JSON.parse(embedded.textContent);
  const answer = await fetch("/runs.json", { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
  if (answer.status === 304) return null;
  tag = answer.headers.get("ETag");
  known.clear();
  return answer.json();
}

/** What is plotted of one run. */
export async function loadDetails(key) {
  if (!known.has(key)) known.set(key, live ? (await fetch(`/details/${key}`)).json() : unpack(key));
  return known.get(key);
}

async function unpack(key) {
  packed ??= JSON.parse(document.getElementById("details-data").textContent);
  const bytes = Uint8Array.from(atob(packed[key]), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}
