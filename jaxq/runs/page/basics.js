// Elements, numbers and colours that all parts of the page share.

const SVG = "http://www.w3.org/2000/svg";
const NUM_COLORS = 7;
const DASHES = ["", "7 3", "2 3", "9 3 2 3"];
const VIRIDIS = [
  [68, 1, 84], [72, 40, 120], [62, 73, 137], [49, 104, 142], [38, 130, 142],
  [31, 158, 137], [53, 183, 121], [110, 206, 88], [181, 222, 43], [253, 231, 37],
];
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// An HTML element; strings among the children become text.
function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// Numbers of base64-encoded little-endian floats: "f4:..." or "f8:...".
function decode(text) {
  const bytes = Uint8Array.from(atob(text.slice(3)), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const single = text.startsWith("f4");
  const size = single ? 4 : 8;
  const values = Array.from({ length: bytes.length / size }, (_, i) =>
    single ? view.getFloat32(i * size, true) : view.getFloat64(i * size, true));
  return { values, single };
}

// The fewest digits that give back the bits of a number.
function exact(value, single) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  for (let digits = 1; single && digits < 10; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return String(short);
  }
  return String(value);
}

// Four significant digits, as in the tables that are printed.
function rounded(value, digits = 4) {
  if (!Number.isFinite(value)) return exact(value);
  const size = Math.abs(value);
  const plain = size === 0 || (size >= 1e-4 && size < 1e7);
  if (plain && size >= 10 ** digits) return value.toFixed(0);
  return plain ? String(Number(value.toPrecision(digits)))
    : String(Number(value.toPrecision(digits)).toExponential());
}

function interval(low, high) {
  return Number.isNaN(low) ? "" : ` [${rounded(low)}, ${rounded(high)}]`;
}

function thousands(value) {
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) >= size) return Number((value / size).toPrecision(6)) + letter;
  }
  return String(Number(value.toPrecision(6)));
}

function color(index) {
  return `var(--c${index % NUM_COLORS})`;
}

function dash(index) {
  return DASHES[Math.floor(index / NUM_COLORS) % DASHES.length];
}

// Viridis without the end that has little contrast with the paper; share in 0 to 1.
function gradient(share) {
  const place = (dark.matches ? 0.25 + 0.75 * share : 0.88 * share) * (VIRIDIS.length - 1);
  const below = Math.min(Math.floor(place), VIRIDIS.length - 2);
  const mixed = VIRIDIS[below].map((c, i) => c + (place - below) * (VIRIDIS[below + 1][i] - c));
  return `rgb(${mixed.map(Math.round).join(" ")})`;
}

// Round numbers that divide an interval into about `count` parts.
function linearTicks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

function logTicks(low, high, count) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const factors = last - first <= 2 ? [1, 2, 5] : [1];
  const stride = Math.max(1, Math.ceil((last - first) / count));
  const ticks = [];
  for (let power = first; power <= last; power += stride) {
    for (const factor of factors) ticks.push(factor * 10 ** power);
  }
  const inside = ticks.filter((t) => t >= low * 0.999 && t <= high * 1.001);
  return inside.length > 1 ? inside : linearTicks(low, high, count);
}

// The map from values to pixels along an axis, and its ticks.
function scale(low, high, start, end, log, count) {
  const place = log ? Math.log10 : (v) => v;
  const [from, to] = [place(low), place(high)];
  const pixel = (value) => start + ((place(value) - from) / (to - from)) * (end - start);
  return { pixel, ticks: log ? logTicks(low, high, count) : linearTicks(low, high, count) };
}

// Draw once a node has a width, and whenever it has another, or the scheme changes.
function redraw(node, draw) {
  let width = -1;
  const observer = new ResizeObserver(() => {
    if (node.clientWidth === width) return;
    width = node.clientWidth;
    requestAnimationFrame(draw);
  });
  observer.observe(node);
  dark.addEventListener("change", draw);
}

// Show a text box beside a point of a figure, inside its bounds.
function placeTip(tip, figure, x, y) {
  tip.hidden = false;
  const width = figure.clientWidth;
  const left = x + 14 + tip.offsetWidth < width ? x + 14 : x - 14 - tip.offsetWidth;
  tip.style.left = `${Math.max(0, Math.min(left, width - tip.offsetWidth))}px`;
  tip.style.top = `${Math.max(0, y - tip.offsetHeight / 2)}px`;
}
