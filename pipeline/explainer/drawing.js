// Elements, colours, maps of numbers on canvases, and small charts. Blue is positive, orange negative everywhere.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes (on… are listeners, `text` its text) and children. */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

const svg = (tag, attributes = {}, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat());
  return node;
}

export const soft = (text) => element("p", { class: "soft", text });

export const button = (text, onclick, attributes = {}) => element("button", { type: "button", text, onclick, ...attributes });

export const byId = (id) => document.getElementById(id);

/** A number for a person: `digits` significant ones, a true minus sign. */
export function written(number, digits = 3) {
  if (!Number.isFinite(number)) return String(number);
  const text = Number.isInteger(number) ? String(number) : String(Number(number.toPrecision(digits)));
  return text.replace("-", "−");
}

/** A number for a small cell. */
export const short = (number) => (Math.abs(number) < 10 && !Number.isInteger(number) ? written(Number(number.toFixed(2))) : written(number));

export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}\u00a0%`;

const redrawers = [];

/** Call `draw` now, and again whenever the colours change between light and dark. */
export function drawnAgain(draw) {
  redrawers.push(draw);
  draw();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  colors.known = null;
  redrawers.forEach((draw) => draw());
});

/** The page's colours as [red, green, blue]. */
function colors() {
  const style = getComputedStyle(document.documentElement);
  const rgb = (name) => [1, 3, 5].map((at) => parseInt(style.getPropertyValue(`--${name}`).trim().slice(at, at + 2), 16));
  colors.known ??= { zero: rgb("zero"), positive: rgb("positive"), negative: rgb("negative"), ink: rgb("ink") };
  return colors.known;
}

/** The colour of a number where `scale` is full blue and -`scale` full orange. */
export function signed(value, scale) {
  const { zero, positive, negative } = colors();
  // The root lets small numbers be seen, too.
  const share = scale === 0 ? Math.sign(Math.abs(value)) : Math.min(Math.abs(value) / scale, 1) ** 0.7 || 0;
  const full = value < 0 ? negative : positive;
  return zero.map((one, part) => Math.round(one + (full[part] - one) * share));
}

export const css = (color) => `rgb(${color.join(" ")})`;
const grey = (value) => Array(3).fill(Math.round(255 * Math.min(Math.max(value, 0), 1)));

/** The largest size of numbers. */
export const largest = (numbers) => numbers.reduce((most, one) => Math.max(most, Math.abs(one)), 0);

/** One channel of {shape, data} as an array. */
export const channelOf = ({ shape: [height, width, channels = 1], data }, channel = 0) =>
  Float32Array.from({ length: height * width }, (_, index) => data[index * channels + channel]);

/** Draw rows × columns of numbers, a pixel each; CSS makes them large. Without `scale` they are greys in 0..1.
 *
 * As a veil they let through what lies below, where they are small.
 */
export function paint(canvas, [rows, columns], numbers, scale = null, isVeil = false) {
  Object.assign(canvas, { width: columns, height: rows });
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  numbers.forEach((value, index) => {
    const opacity = isVeil ? 255 * Math.min(Math.abs(value) / scale, 1) : 255;
    image.data.set([...(scale === null ? grey(value) : signed(value, isVeil ? 0 : scale)), opacity], 4 * index);
  });
  context.putImageData(image, 0, 0);
}

/** Draw an image {shape, data} in 0..1: grey, or in colours where it has three channels. */
export function paintImage(canvas, { shape, data }) {
  const [height, width, channels] = shape;
  if (channels !== 3) return paint(canvas, shape, channelOf({ shape, data }));
  Object.assign(canvas, { width, height });
  const image = canvas.getContext("2d").createImageData(width, height);
  for (let pixel = 0; pixel < height * width; pixel++) {
    image.data.set([0, 1, 2].map((part) => 255 * data[3 * pixel + part]).concat(255), 4 * pixel);
  }
  return canvas.getContext("2d").putImageData(image, 0, 0);
}

/** A table of numbers on their colours; null is padding. `marked`: the index of one that stands out. */
export function numbersTable(columns, numbers, { scale = largest(numbers.map((one) => one ?? 0)), marked = -1, label } = {}) {
  const cell = (value, index) => {
    const style = value === null ? "" : `background:${css(signed(value, scale))}`;
    const title = value === null ? "padding" : String(value);
    const text = value === null ? "·" : short(value);
    const strong = Math.abs(value) > 0.6 * scale ? "strong" : "";
    return element("td", { text, style, title, class: `${strong} ${index === marked ? "marked" : ""}` });
  };
  const rows = Array.from({ length: numbers.length / columns }, (_, row) =>
    element("tr", {}, numbers.slice(row * columns, (row + 1) * columns).map((value, index) => cell(value, row * columns + index))));
  const caption = label ? [element("caption", { text: label })] : [];
  return element("table", { class: "numbers" }, ...caption, element("tbody", {}, rows));
}

/** What an arrow key asks for: [rows, columns]. */
export const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/** Let a place of a canvas be chosen, by pointer or arrow keys: `size` gives its rows and columns, `place` the present. */
export function choosesPlaces(canvas, size, place, onchoose) {
  const choose = (row, column) => onchoose([row, column].map((one, axis) => Math.min(Math.max(one, 0), size()[axis] - 1)));
  const at = ({ offsetX, offsetY }) => choose(Math.floor((offsetY / canvas.clientHeight) * size()[0]), Math.floor((offsetX / canvas.clientWidth) * size()[1]));
  canvas.addEventListener("pointerdown", at);
  canvas.addEventListener("pointermove", (event) => event.pointerType === "mouse" && at(event));
  canvas.addEventListener("keydown", (event) => {
    if (!ARROWS[event.key]) return;
    event.preventDefault();
    choose(...place().map((one, axis) => one + ARROWS[event.key][axis]));
  });
}

/** Arrow keys move among the elements of a grid that `selector` finds; only one of them is reached by Tab. */
export function roving(container, selector, columns = 1) {
  const all = () => [...container.querySelectorAll(selector)];
  const choose = (one) => all().forEach((other) => (other.tabIndex = other === one ? 0 : -1));
  choose(all()[0]);
  // Its elements may be others later, its listeners stay.
  const isKnown = "columns" in container.dataset;
  container.dataset.columns = columns;
  if (isKnown) return;
  container.addEventListener("focusin", ({ target }) => target.matches(selector) && choose(target));
  container.addEventListener("keydown", (event) => {
    const [down, across] = ARROWS[event.key] ?? [];
    const from = all().indexOf(event.target);
    const next = all()[from + down * Number(container.dataset.columns) + across];
    if (from < 0 || !next) return;
    event.preventDefault();
    next.focus();
  });
}

const SIZE = { width: 260, height: 120, left: 34, bottom: 18 };
const RIGHT = 16;

/** A chart of lines: `lines` are [{points: [[x, y]…], kind}] within `x` and `y` [least, most]; `ticks` {x: […], y: […]}. */
export function chart(lines, { x, y, ticks, label, bars = [] }) {
  const { width, height, left, bottom } = SIZE;
  const across = (value) => left + ((value - x[0]) / (x[1] - x[0])) * (width - left - RIGHT);
  const up = (value) => height - bottom - ((value - y[0]) / (y[1] - y[0])) * (height - bottom - 6);
  const inside = (value) => Math.min(Math.max(value, y[0]), y[1]);
  const path = (points) => points.map(([at, value], index) => `${index ? "L" : "M"}${across(at).toFixed(1)} ${up(inside(value)).toFixed(1)}`).join("");
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "chart" },
    ticks.x.map((at) => svg("line", { class: at === 0 ? "axis" : "tick", x1: across(at), x2: across(at), y1: 6, y2: height - bottom })),
    ticks.y.map((at) => svg("line", { class: at === 0 ? "axis" : "tick", x1: left, x2: width - RIGHT, y1: up(at), y2: up(at) })),
    ticks.x.map((at) => svg("text", { x: across(at), y: height - 4, "text-anchor": "middle", text: written(at) })),
    ticks.y.map((at) => svg("text", { x: left - 5, y: up(at) + 4, "text-anchor": "end", text: written(at) })),
    bars.map(([from, to, value]) =>
      svg("rect", { class: "bar", x: across(from), width: across(to) - across(from) - 0.5, y: up(value), height: up(y[0]) - up(value) })),
    lines.map(({ points, kind }) => svg("path", { class: `line ${kind}`, d: path(points) })));
}

/** Points with their intervals on one axis of percent: `rows` are lines of a study's results with isHere, onchoose. */
export function strip(rows, label) {
  const [least, most] = [Math.min(...rows.map((row) => row.interval_low)), Math.max(...rows.map((row) => row.interval_high))];
  const room = Math.max(0.1 * (most - least), 0.1);
  const across = (value) => 10 + ((value - least + room) / (most - least + 2 * room)) * 380;
  const ticks = [least, most].map((at) => svg("text", { x: across(at), y: 40, "text-anchor": "middle", text: `${at.toFixed(1)} %` }));
  const mark = ({ interval_low: low, mean, interval_high: high, label: name, isHere, onchoose }) => {
    const title = `${name}: ${mean.toFixed(2)} % (${low.toFixed(2)} to ${high.toFixed(2)})`;
    const press = (event) => {
      if (!["Enter", " "].includes(event.key)) return;
      event.preventDefault(); // the page would scroll
      onchoose();
    };
    const choose = { onclick: onchoose, onkeydown: press };
    return svg("g", { class: isHere ? "mark here" : "mark", tabindex: 0, role: "button", "aria-label": title, ...choose },
      svg("title", { text: title }),
      svg("line", { x1: across(low), x2: across(high), y1: 15, y2: 15 }),
      svg("circle", { cx: across(mean), cy: 15, r: isHere ? 7 : 5 }));
  };
  const sorted = [...rows].sort((one, other) => Number(one.isHere) - Number(other.isHere));
  return svg("svg", { viewBox: "0 0 400 44", class: "strip", role: "group", "aria-label": label },
    svg("line", { class: "tick", x1: 10, x2: 390, y1: 15, y2: 15 }), ticks, sorted.map(mark));
}
