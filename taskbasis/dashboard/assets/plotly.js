// Plotly, loaded when the first figure is wanted, and what all figures share.

const LONGEST = 42;
const LONGEST_TICK = 18;
let loading = null;

// Okabe and Ito: distinguishable with colour blindness. Dashes and symbols tell lines apart a second time.
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x", "star", "cross"];

/** Colour, dash and symbol of the i-th line. */
export function style(i) {
  return {
    color: COLOURS[i % COLOURS.length],
    dash: DASHES[Math.floor(i / COLOURS.length) % DASHES.length],
    symbol: SYMBOLS[i % SYMBOLS.length],
  };
}

/** A colour of the palette, see-through. */
export function faint(i) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(COLOURS[i % COLOURS.length].slice(at, at + 2), 16));
  return `rgba(${r},${g},${b},0.18)`;
}

/** Text as a figure shows it, cut so that room is left for the figure: Plotly reads some HTML in labels. */
export function plain(text, longest = LONGEST) {
  const whole = String(text);
  const cut = whole.length > longest ? `${whole.slice(0, longest - 1)}…` : whole;
  return cut.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** Texts as an axis shows them. */
export function ticks(texts) {
  return texts.map((text) => plain(text, LONGEST_TICK));
}

/** Draw a figure into `element`, replacing what it showed. */
export async function draw(element, { data, layout }) {
  const Plotly = await load();
  const css = getComputedStyle(document.body);
  const grid = css.getPropertyValue("--line");
  const axis = { gridcolor: grid, linecolor: grid, zerolinecolor: grid, automargin: true };
  const polar = layout.polar && {
    bgcolor: "rgba(0,0,0,0)",
    angularaxis: { gridcolor: grid },
    radialaxis: { gridcolor: grid, range: [0, 1], ...layout.polar.radialaxis },
  };
  const full = {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: css.color, family: css.fontFamily, size: 12 },
    margin: { l: 50, r: 16, t: 40, b: 40 },
    legend: { yref: "container", y: 0, yanchor: "bottom", x: 0, xanchor: "left" },
    height: 360 + 20 * data.filter(({ showlegend, name }) => name && showlegend !== false).length,
    ...layout,
    title: { text: layout.title, font: { size: 14 } },
    xaxis: { ...axis, ...layout.xaxis },
    yaxis: { ...axis, ...layout.yaxis },
    ...(polar ? { polar } : {}),
  };
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", layout.title);
  await Plotly.react(element, data, full, { responsive: true, displaylogo: false });
}

/** Take a figure away. */
export async function erase(element) {
  if (loading) (await loading).purge(element);
  element.remove();
}

function load() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    const source = document.getElementById("plotly-source");
    if (source) {
      script.textContent = source.textContent;
      document.head.append(script);
      resolve(window.Plotly);
    } else {
      script.onload = () => resolve(window.Plotly);
      script.onerror = () => reject(new Error("plotly.min.js cannot be loaded"));
      script.src = "/assets/plotly.min.js";
      document.head.append(script);
    }
  });
  return loading;
}
