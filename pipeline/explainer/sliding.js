// What a convolution is: a small grid slides over a large one; then the same on a picture.

import { button, byId, css, drawnAgain, element, largest, paint, paintImage, roving, short, signed, written } from "./drawing.js";
import { convolve } from "./network.js";
import { fromBytes, greySquare, pictureWays } from "./pictures.js";
import { uniform } from "./weights.js";

const ONCE = 700; // milliseconds at each place
const PICTURE = 112;

/** [image 5 × 5, kernel 3 × 3]. The first is the tutorial's: at its first place the sum is 4. */
const EXAMPLES = {
  "The tutorial’s": [[1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0], [1, 0, 1, 0, 1, 0, 1, 0, 1]],
  "An edge": [[0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1], [-1, 0, 1, -2, 0, 2, -1, 0, 1]],
  "A blur": [[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Array(9).fill(1)],
};

const PLAIN = { strides: 1, dilation_rate: 1, groups: 1 };

const BY_HAND = {
  "leave it": [0, 0, 0, 0, 1, 0, 0, 0, 0],
  blur: Array(9).fill(1 / 9),
  sharpen: [0, -1, 0, -1, 5, -1, 0, -1, 0],
  edges: [-1, -1, -1, -1, 8, -1, -1, -1, -1],
  "edges ↓": [-1, -2, -1, 0, 0, 0, 1, 2, 1],
  "edges →": [-1, 0, 1, -2, 0, 2, -1, 0, 1],
  emboss: [-2, -1, 0, -1, 1, 1, 0, 1, 2],
};

export function startSliding({ content, network }) {
  startNumbers();
  startPicture(content, network);
}

/** A grid of fields for numbers, in the element `id`. */
function fields(id, columns, count, name, onchange) {
  const field = (index) => element("input", {
    inputmode: "decimal", autocomplete: "off", "aria-label": `${name}, row ${Math.floor(index / columns) + 1}, column ${(index % columns) + 1}`,
    onfocus: ({ target }) => target.select(),
    oninput: ({ target }) => onchange(index, Number(target.value.replace("−", "-").replace(",", ".")) || 0),
  });
  const cells = Array.from({ length: count }, (_, index) => element("div", { class: "cell" }, field(index)));
  byId(id).style.setProperty("--columns", columns);
  byId(id).replaceChildren(...cells);
  roving(byId(id), "input", columns);
  return cells;
}

function startNumbers() {
  const state = { image: [], kernel: [], place: 0, timer: null };
  const cells = {
    image: fields("numbers-image", 5, 25, "image", (index, value) => change("image", index, value)),
    kernel: fields("numbers-kernel", 3, 9, "kernel", (index, value) => change("kernel", index, value)),
  };
  const go = (place) => {
    state.place = (place + 9) % 9;
    draw();
  };
  const jump = (place) => {
    stop();
    go(place);
  };
  const results = Array.from({ length: 9 }, (_, place) =>
    button("", () => jump(place), { class: "cell", onfocus: () => place !== state.place && jump(place), onmouseenter: () => state.timer || go(place) }));
  byId("numbers-result").style.setProperty("--columns", 3);
  byId("numbers-result").append(...results);
  roving(byId("numbers-result"), "button", 3);
  const change = (which, index, value) => {
    state[which][index] = value;
    draw(false);
  };
  const stop = () => {
    clearInterval(state.timer);
    state.timer = null;
    byId("slide").textContent = "Slide";
  };
  const draw = (all = true) => drawNumbers(state, cells, results, all);
  byId("slide").addEventListener("click", () => {
    if (state.timer) return stop();
    byId("slide").textContent = "Stop";
    go(state.place + 1);
    state.timer = setInterval(() => go(state.place + 1), ONCE);
    return undefined;
  });
  byId("slide-back").addEventListener("click", () => jump(state.place - 1));
  byId("slide-on").addEventListener("click", () => jump(state.place + 1));
  const show = ([image, kernel]) => {
    stop();
    Object.assign(state, { image: [...image], kernel: [...kernel], place: 0 });
    draw();
  };
  byId("numbers-examples").append(...Object.entries(EXAMPLES).map(([name, example]) => button(name, () => show(example))));
  show(EXAMPLES["The tutorial’s"]);
  drawnAgain(draw);
}

/** Draw the grids; without `all` the fields keep what is being typed. */
function drawNumbers({ image, kernel, place }, cells, results, all) {
  const covered = (at) => kernel.map((_, index) => (Math.floor(at / 3) + Math.floor(index / 3)) * 5 + (at % 3) + (index % 3));
  const sums = results.map((_, at) => covered(at).reduce((sum, index, tap) => sum + image[index] * kernel[tap], 0));
  const under = covered(place);
  const fill = (cell, value, scale) => {
    cell.style.background = css(signed(value, 2.2 * (scale || 1)));
    if (all) cell.querySelector("input").value = written(value);
  };
  cells.image.forEach((cell, index) => {
    fill(cell, image[index], largest(image));
    const tap = under.indexOf(index);
    cell.classList.toggle("under", tap >= 0);
    cell.dataset.times = tap >= 0 ? `×${written(kernel[tap])}` : "";
  });
  cells.kernel.forEach((cell, index) => fill(cell, kernel[index], largest(kernel)));
  results.forEach((cell, at) => {
    cell.textContent = written(sums[at]);
    cell.style.background = css(signed(sums[at], 2.2 * (largest(sums) || 1)));
    cell.classList.toggle("under", at === place);
    cell.setAttribute("aria-label", `answer, row ${Math.floor(at / 3) + 1}, column ${(at % 3) + 1}: ${written(sums[at])}`);
  });
  const terms = under.map((index, tap) => [image[index], kernel[tap]]);
  const factor = (number) => (number < 0 ? `(${written(number)})` : written(number));
  const term = ([value, weight]) => element("span", { class: value * weight ? "term" : "term nothing", text: `${factor(value)}·${factor(weight)}` });
  const line = terms.flatMap((one, index) => (index ? [" + ", term(one)] : [term(one)]));
  byId("numbers-sum").replaceChildren(...line, " = ", element("strong", { text: written(sums[place]) }));
}

function startPicture(content, network) {
  const sample = mosaic(content);
  const state = { picture: sample, kernel: null };
  const draw = () => drawPicture(state);
  const use = (kernel) => {
    state.kernel = kernel;
    const side = Math.round(Math.sqrt(kernel.weights.length));
    const columns = kernel.columns ?? side;
    const cells = fields("filter", columns, kernel.weights.length, "kernel", (index, value) => {
      state.kernel = { ...state.kernel, name: "your own", weights: Object.assign([...state.kernel.weights], { [index]: value }) };
      draw();
    });
    cells.forEach((cell, index) => (cell.querySelector("input").value = short(kernel.weights[index])));
    document.querySelectorAll(".kernels button").forEach((one) => one.setAttribute("aria-pressed", String(one.title === kernel.name)));
    draw();
  };
  const random = uniform(1);
  const noise = () => Array.from({ length: 9 }, () => Number((2 * random() - 1).toFixed(2)));
  const tile = (kernel) => {
    const canvas = element("canvas");
    drawnAgain(() => paint(canvas, [kernel.weights.length / kernel.columns, kernel.columns], kernel.weights, largest(kernel.weights)));
    const choose = () => use(kernel.name === "noise" ? { ...kernel, weights: noise() } : kernel);
    const attributes = { type: "button", title: kernel.name, "aria-pressed": "false", onclick: choose };
    return element("button", attributes, canvas, element("span", { text: kernel.label ?? kernel.name }));
  };
  const byHand = Object.entries({ ...BY_HAND, noise: noise() }).map(([name, weights]) => ({ name, weights, columns: 3 }));
  const learned = learnedKernels(network);
  byId("by-hand").append(...byHand.map(tile));
  byId("learned").append(...learned.map(tile));
  roving(byId("by-hand"), "button");
  roving(byId("learned"), "button");
  byId("positive-only").addEventListener("change", draw);
  byId("sample").addEventListener("click", () => ((state.picture = sample), draw()));
  pictureWays("picture-ways", (source) => ((state.picture = greySquare(source, PICTURE)), draw()));
  use(byHand[3]);
  drawnAgain(draw);
}

function drawPicture({ picture, kernel }) {
  paintImage(byId("picture"), picture);
  const rows = kernel.weights.length / kernel.columns;
  const conv = { ...PLAIN, kernel_size: [rows, kernel.columns], padding: "same" };
  const answer = convolve(picture, { shape: [rows, kernel.columns, 1, 1], data: kernel.weights }, null, conv);
  const sum = kernel.weights.reduce((one, other) => one + other, 0);
  const shown = byId("positive-only").checked ? answer.map((x) => Math.max(x, 0)) : answer;
  // Weights that sum to 1 keep the brightness: the answer is a picture again.
  const isPicture = Math.abs(sum - 1) < 0.011;
  paint(byId("filtered"), picture.shape, shown, isPicture ? null : largest(answer));
  byId("filter-name").textContent = `${kernel.name}: weights sum to ${written(sum, 2)}`;
  byId("filtered-note").textContent = isPicture
    ? "The weights sum to 1, so the brightness stays."
    : `Blue is positive, orange negative; from ${written(Math.min(...answer), 2)} to ${written(Math.max(...answer), 2)}.`;
}

/** The kernels of the network's first layer; of several channels their mean. */
function learnedKernels({ layers, weights }) {
  const { name } = layers.find(({ kind }) => kind === "conv2d");
  const { shape: [height, width, depth, filters], data } = weights[`${name}/kernel`];
  return Array.from({ length: filters }, (_, filter) => ({
    name: `filter ${filter}`,
    label: String(filter),
    columns: width,
    weights: Array.from({ length: height * width }, (__, tap) => {
      const each = Array.from({ length: depth }, (___, channel) => data[(tap * depth + channel) * filters + filter]);
      return each.reduce((one, other) => one + other, 0) / depth;
    }),
  }));
}

/** Pieces of the data set side by side, as one picture. */
function mosaic({ pictures, image_shape: [height, width, channels] }) {
  const all = [...pictures.right, ...pictures.mistakes];
  const [down, across] = [Math.max(1, Math.round(PICTURE / height)), Math.max(1, Math.round(PICTURE / width))];
  const data = new Float32Array(down * height * across * width);
  for (let tile = 0; tile < down * across; tile++) {
    const image = fromBytes(all[tile % all.length].pixels, [height, width, channels]);
    for (let pixel = 0; pixel < height * width; pixel++) {
      const y = Math.floor(tile / across) * height + Math.floor(pixel / width);
      data[y * across * width + (tile % across) * width + (pixel % width)] = image.data[pixel * channels];
    }
  }
  return { shape: [down * height, across * width, 1], data };
}
