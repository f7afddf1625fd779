// One image through every layer: maps, the sum behind a number, probabilities, what matters where, and mistakes.

import { heightWidth } from "./arithmetic.js";
import { byId, channelOf, choosesPlaces, drawnAgain, element, largest, numbersTable, paint, paintImage, percent, roving, soft, written } from "./drawing.js";
import { forward, normalization, occlusion, products, softmax, windows } from "./network.js";
import { fitPhoto, fromBytes, pictureWays } from "./pictures.js";

const MOST_MAPS = 128;
const MOST_PARTS = 12;
const AWAKE = 14; // milliseconds of work between two frames

export function startInside({ content, network }) {
  const state = { content, network, image: null, known: null, outputs: [], chosen: null, place: null, job: 0 };
  const show = (image, known, fitted = "") => {
    Object.assign(state, { image, known, fitted, occlusion: null });
    compute(state);
  };
  const tile = (known, kind) => {
    const image = fromBytes(known.pixels, content.image_shape);
    const canvas = element("canvas");
    paintImage(canvas, image);
    const answer = known.probabilities.indexOf(Math.max(...known.probabilities));
    const is = content.classes[known.label];
    const title = kind === "right" ? is : `${is}, taken for ${content.classes[answer]} (${percent(known.probabilities[answer])})`;
    return element("button", { type: "button", title, "aria-label": title, "aria-pressed": "false", onclick: ({ currentTarget }) => {
      document.querySelectorAll(".tiles button").forEach((one) => one.setAttribute("aria-pressed", String(one === currentTarget)));
      show(image, known);
    } }, canvas);
  };
  for (const kind of ["right", "mistakes"]) {
    byId(`tiles-${kind}`).append(...content.pictures[kind].map((known) => tile(known, kind)));
    if (content.pictures[kind].length) roving(byId(`tiles-${kind}`), "button");
    else byId(`tiles-${kind}`).append(element("span", { class: "soft", text: "none" }));
  }
  pictureWays("inside-ways", (source) => {
    document.querySelectorAll(".tiles button").forEach((one) => one.setAttribute("aria-pressed", "false"));
    const photo = fitPhoto(source, content.image_shape, content.light_backgrounds);
    show(photo, null, photo.fitted);
  });
  buildLayers(state);
  choosesPlaces(byId("chosen-map"), () => state.outputs[state.chosen.index].shape, () => state.place, (place) => {
    state.place = place;
    showChosen(state);
  });
  document.querySelector(".tiles button").click();
  drawnAgain(() => drawAll(state));
}

function compute(state) {
  state.outputs = forward(state.network, state.image);
  state.probabilities = Array.from(softmax(state.outputs.at(-1).data));
  drawAll(state);
  showOcclusion(state);
}

function drawAll(state) {
  paintImage(byId("inside-image"), state.image);
  showProbabilities(state);
  paintImage(byId("occlusion-image"), state.image);
  const { rows, columns, data } = state.occlusion ?? { rows: 1, columns: 1, data: [0] };
  paint(byId("occlusion"), [rows, columns], data, Math.max(largest(data), 0.02), true);
  state.rows.forEach(({ index, canvases }) => {
    const output = state.outputs[index];
    const scale = largest(output.data);
    canvases.forEach((canvas, channel) => paint(canvas, output.shape, channelOf(output, channel), scale));
  });
  showChosen(state);
}

function showProbabilities({ content, probabilities, known, fitted }) {
  const answer = probabilities.indexOf(Math.max(...probabilities));
  byId("inside-caption").textContent = known
    ? `${content.scores.images} image ${known.image}: ${content.classes[known.label]}${answer === known.label ? "" : `, taken for ${content.classes[answer]}`}`
    : `your own picture, as the network sees it (${fitted}): ${content.classes[answer]}`;
  const order = probabilities.map((_, index) => index);
  const shown = order.length > 12 ? order.sort((one, other) => probabilities[other] - probabilities[one]).slice(0, 12) : order;
  byId("probabilities").replaceChildren(...shown.map((index) => {
    const name = `${content.classes[index]}${known?.label === index ? " ✓" : ""}`;
    const bar = element("span", { class: index === answer ? "bar best" : "bar" });
    bar.style.width = `${100 * probabilities[index]}%`;
    const cells = [element("th", { scope: "row", text: name }), element("td", { class: "track" }, bar), element("td", { text: percent(probabilities[index]) })];
    return element("tr", { class: index === answer ? "best" : "" }, cells);
  }));
}

/** Hide a square everywhere, in small pieces of work, unless another image comes meanwhile. */
function showOcclusion(state) {
  const job = ++state.job;
  const answer = state.probabilities.indexOf(Math.max(...state.probabilities));
  const work = occlusion(state.network, state.image, answer);
  const name = state.content.classes[answer];
  byId("occlusion-note").textContent = "hiding a grey square everywhere …";
  const go = () => {
    if (job !== state.job) return;
    const until = performance.now() + AWAKE;
    let step = work.next();
    while (!step.done && performance.now() < until) step = work.next();
    if (!step.done) {
      byId("occlusion-note").textContent = `hiding a grey square everywhere … ${percent(step.value, 0)}`;
      setTimeout(go);
      return;
    }
    const { data, side } = step.value;
    const [least, most] = [Math.min(...data), Math.max(...data)];
    state.occlusion = step.value;
    drawAll(state);
    const before = state.probabilities[answer];
    byId("occlusion-note").textContent = most < 0.01 && least > -0.01
      ? `Wherever a grey square of ${side} × ${side} pixels lies, “${name}” stays at ${percent(before)}.`
      : `Blue: hiding ${side} × ${side} pixels there makes “${name}” less probable, from ${percent(before)} to ${percent(before - most)} at worst.`
        + (least < -0.01 ? " Orange: more probable." : "");
  };
  setTimeout(go, 150);
}

/** A row of maps for each layer that has any, buttons that choose one; for dense layers a button a unit. */
function buildLayers(state) {
  const { layers } = state.network;
  state.rows = [];
  const parts = layers.map((layer, index) => {
    const isAnswer = index === layers.length - 1;
    if (["flatten", "dropout"].includes(layer.kind) && !isAnswer) return null;
    const isDense = layer.output.length === 1;
    const count = Math.min(layer.output.at(-1), MOST_MAPS);
    const canvases = Array.from({ length: isDense ? 0 : count }, () => element("canvas"));
    const name = (channel) => (isAnswer ? state.content.classes[channel] : `${channel}`);
    const buttons = Array.from({ length: count }, (_, channel) => {
      const label = `${layer.name}, ${isDense ? "unit" : "map"} ${name(channel)}`;
      const attributes = { type: "button", "aria-label": label, "aria-pressed": "false", onclick: () => choose(state, index, channel) };
      return element("button", attributes, isDense ? name(channel) : canvases[channel]);
    });
    const maps = element("div", { class: isDense ? "maps units" : "maps" }, buttons);
    roving(maps, "button");
    if (!isDense) state.rows.push({ index, canvases });
    const size = isDense ? `${layer.output[0]} numbers` : `${layer.output[2]} ${layer.output[2] === 1 ? "map" : "maps"} of ${layer.output[0]} × ${layer.output[1]}`;
    const more = layer.output.at(-1) > count ? ` (the first ${count})` : "";
    return element("div", { class: "layer", id: `layer-${index}` }, element("h4", {}, element("code", { text: layer.name }), ` ${size}${more}`), maps);
  });
  byId("all-layers").append(...parts.filter(Boolean));
}

function choose(state, index, channel) {
  const { output } = state.network.layers[index];
  const strongest = output.length === 3 ? channelOf(state.outputs[index], channel) : null;
  Object.assign(state, { chosen: { index, channel }, part: null });
  // Where the map is strongest there is most to see.
  const at = strongest ? strongest.reduce((most, value, place) => (Math.abs(value) > Math.abs(strongest[most]) ? place : most), 0) : 0;
  state.place = strongest ? [Math.floor(at / output[1]), at % output[1]] : null;
  document.querySelectorAll("#all-layers button[aria-pressed]").forEach((one) => one.setAttribute("aria-pressed", "false"));
  byId(`layer-${index}`).querySelectorAll("button")[channel].setAttribute("aria-pressed", "true");
  byId(`layer-${index}`).append(byId("behind"));
  byId("behind").hidden = false;
  showChosen(state);
}

function showChosen(state) {
  if (!state.chosen) return;
  const { index, channel } = state.chosen;
  const layer = state.network.layers[index];
  const output = state.outputs[index];
  const input = index === 0 ? state.image : state.outputs[index - 1];
  byId("chosen-figure").hidden = output.shape.length === 1;
  if (output.shape.length === 3) drawMap(output, channel, state.place);
  const said = EXPLAIN[layer.kind](state, layer, input, output, channel).flat();
  const isAnswer = index === state.network.layers.length - 1;
  byId("explanation").replaceChildren(...said, ...(isAnswer ? [soft(`softmax of all classes makes it ${percent(state.probabilities[channel])}.`)] : []));
}

function drawMap(output, channel, [row, column]) {
  const [rows, columns] = output.shape;
  const numbers = channelOf(output, channel);
  paint(byId("chosen-map"), output.shape, numbers, largest(numbers));
  const share = (part, whole) => `${(100 * part) / whole}%`;
  const box = { left: share(column, columns), top: share(row, rows), width: share(1, columns), height: share(1, rows) };
  Object.assign(byId("crosshair").style, box);
  byId("chosen-caption").textContent = `map ${channel}, row ${row}, column ${column}`;
}

/** The number of a map at a place; of a layer without maps that of a unit, at no place. */
const valueAt = ({ shape: [, columns, channels], data }, place, channel) => data[place ? (place[0] * columns + place[1]) * channels + channel : channel];
const line = (...parts) => element("p", { class: "sum" }, ...parts);
const strong = (number) => element("strong", { text: written(number) });
const plus = (number) => (number < 0 ? ` − ${written(-number)}` : ` + ${written(number)}`);

/** In words and numbers how a layer's chosen number comes about, by the layer's kind. */
const EXPLAIN = {
  conv2d: explainConv,
  batch_normalization({ network, place }, { name }, input, output, channel) {
    const { scale, offset } = normalization(network.weights, name);
    const before = valueAt(input, place, channel);
    return [line(`${written(before)} · ${written(scale[channel])}${plus(offset[channel])} = `, strong(valueAt(output, place, channel))),
      soft("Batch normalisation: each is scaled and moved, by what training found.")];
  },
  activation({ place }, { activation }, input, output, channel) {
    return [line(`${activation}(${written(valueAt(input, place, channel))}) = `, strong(valueAt(output, place, channel)))];
  },
  max_pooling: explainPool,
  average_pooling: explainPool,
  global_average: (state, layer, input, output, channel) => [line(`the mean of map ${channel} = `, strong(output.data[channel]))],
  global_max: (state, layer, input, output, channel) => [line(`the largest number of map ${channel} = `, strong(output.data[channel]))],
  flatten: (state, layer, input, output, unit) => [line(`map ${unit} has one number: `, strong(output.data[unit]))],
  dense: explainDense,
};

function explainConv(state, { name, window, activation, output: [, across] }, input, output, channel) {
  const { weights } = state.network;
  const kernel = weights[`${name}/kernel`];
  const parts = products(input, kernel, window, state.place[0] * across + state.place[1], channel);
  const bias = weights[`${name}/bias`]?.data[channel] ?? 0;
  const sum = parts.reduce((all, part) => all + part.sum, bias);
  const sorted = [...parts].sort((one, other) => Math.abs(other.sum) - Math.abs(one.sum));
  const part = parts.find((one) => one.channel === state.part) ?? sorted[0];
  const columns = heightWidth(window.kernel_size)[1];
  const from = state.chosen.index === 0 ? "the image" : state.network.layers[state.chosen.index - 1].name;
  const tables = [
    numbersTable(columns, part.values, { label: parts.length > 1 ? `${from}, channel ${part.channel}` : from }),
    element("span", { class: "sign", text: "·" }),
    numbersTable(columns, part.weights, { label: "the kernel" }),
    element("span", { class: "sign", text: "=" }),
    numbersTable(columns, part.values.map((value, tap) => value === null ? null : value * part.weights[tap]), { label: `products, together ${written(part.sum)}` }),
  ];
  const left = parts.length === 1 ? [written(part.sum)] : sumOfParts(state, sorted, part);
  const last = activation === "linear" ? [] : [`, and ${activation} makes it `, strong(valueAt(output, state.place, channel))];
  const count = `${parts.length * part.weights.length} products`;
  return [element("div", { class: "tables" }, tables), line(...left, window.use_bias ? `${plus(bias)} (bias)` : "", " = ", strong(sum), ...last),
    soft(parts.length > 1 ? `${count} of ${parts.length} channels; those that add most come first: choose one.` : `${count}. Move over the map, or use the arrow keys.`)];
}

/** The sums of the channels that count most, as buttons, and of all others together. */
function sumOfParts(state, sorted, chosen) {
  const first = sorted.slice(0, MOST_PARTS);
  const rest = sorted.slice(MOST_PARTS).reduce((sum, { sum: one }) => sum + one, 0);
  const buttons = first.map((part, index) => element("button", {
    type: "button", class: "part", "aria-pressed": String(part === chosen), title: `channel ${part.channel}`, onclick: () => {
      state.part = part.channel;
      showChosen(state);
    },
  }, `${index || part.sum < 0 ? plus(part.sum).trim() : written(part.sum)}`, element("small", { text: ` ch ${part.channel}` })));
  return sorted.length > MOST_PARTS ? [...buttons, `${plus(rest)} (the other ${sorted.length - MOST_PARTS})`] : buttons;
}

function explainPool({ place: [row, column] }, { kind, window, output: [, across] }, input, output, channel) {
  const [height, width] = heightWidth(window.kernel_size);
  const taps = windows(window, input.shape)[row * across + column];
  const values = taps.map((pixel) => (pixel === null ? null : input.data[pixel * input.shape[2] + channel]));
  const isMax = kind === "max_pooling";
  const marked = isMax ? values.indexOf(Math.max(...values.filter((value) => value !== null))) : -1;
  return [element("div", { class: "tables" }, numbersTable(width, values, { marked, label: `a window of ${height} × ${width}` })),
    line(isMax ? "the largest is kept: " : "their mean: ", strong(valueAt(output, [row, column], channel)))];
}

function explainDense(state, { name, activation }, input, output, unit) {
  const { weights, layers } = state.network;
  const { shape, data } = weights[`${name}/kernel`];
  const bias = weights[`${name}/bias`].data[unit];
  const all = Array.from(input.data, (value, index) => ({ index, value, weight: data[index * shape[1] + unit] }));
  const sum = all.reduce((one, { value, weight }) => one + value * weight, bias);
  const first = [...all].sort((one, other) => Math.abs(other.value * other.weight) - Math.abs(one.value * one.weight)).slice(0, MOST_PARTS);
  const head = layers.findIndex((layer) => layer.name === "head");
  const [, columns, channels] = layers[head].input;
  const isFlat = layers[head].kind === "flatten" && !layers.slice(head + 1, state.chosen.index).some(({ kind }) => kind === "dense");
  const called = (index) => isFlat && channels
    ? `map ${index % channels}, row ${Math.floor(index / channels / columns)}, column ${Math.floor(index / channels) % columns}` : `number ${index}`;
  const row = (texts, tag) => element("tr", {}, texts.map((text) => element(tag, { text })));
  const rows = first.map(({ index, value, weight }) => row([called(index), ...[value, weight, value * weight].map((one) => written(one))], "td"));
  const header = row(["from", "value", "weight", "product"], "th");
  const last = activation === "linear" ? [] : [`, and ${activation} makes it `, strong(output.data[unit])];
  return [element("table", { class: "plain" }, element("thead", {}, header), element("tbody", {}, rows)),
    line(`${all.length} products, bias ${written(bias)}, together `, strong(sum), ...last)];
}
