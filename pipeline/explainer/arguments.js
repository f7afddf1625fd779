// Every argument of Conv2D as a control, and at once what it changes, what was measured, or why it can't be.
//
// The settings are {dotted key: value}, as a person types them: `model.conv.filters`, `model.blocks.block2.conv.groups`.

import { Refusal, counted, fieldSize, heightWidth, layers, pythonNumber, receptiveField, total, walk } from "./arithmetic.js";
import { byId, channelOf, chart, choosesPlaces, drawnAgain, element, largest, numbersTable, paintImage, soft, strip, written } from "./drawing.js";
import { ACTIVATIONS, activate } from "./network.js";
import { fromBytes } from "./pictures.js";
import { constrained, distribution, drawn, shrunk } from "./weights.js";

const AXES = { "[0]": [0], "[0, 1]": [0, 1], "[0, 1, 2], a filter": [0, 1, 2] };
const PARAMETERS = {
  none: null,
  l1: { name: "l1", l1: 0.01 },
  l2: { name: "l2", l2: 0.01 },
  l1_l2: { name: "l1_l2", l1: 0.01, l2: 0.01 },
  MaxNorm: { name: "MaxNorm", max_value: 2, axis: [0] },
  MinMaxNorm: { name: "MinMaxNorm", min_value: 0, max_value: 1, rate: 1, axis: [0] },
  NonNeg: { name: "NonNeg" },
  RadialConstraint: { name: "RadialConstraint" },
  UnitNorm: { name: "UnitNorm", axis: [0] },
};
const WHAT_IT_DOES = {
  MaxNorm: "What is longer than max_value is shortened to it.",
  MinMaxNorm: "Lengths are pulled into min_value to max_value, by the share rate.",
  NonNeg: "What is negative becomes 0.",
  UnitNorm: "Each gets length 1.",
  RadialConstraint: "Weights as far from the middle become their mean. (Of this project: Keras 3 has none.)",
};
const DEFAULTS = {
  strides: 1, padding: "valid", data_format: "channels_last", dilation_rate: 1, groups: 1, activation: "linear", use_bias: true,
  kernel_initializer: "glorot_uniform", bias_initializer: "zeros",
};
const STEPS = 2000; // of gradient descent, in the picture of a regularizer
const SAMPLE = 4000; // weights in a histogram
const BINS = 31;
const MOST_TABLED = 49; // weights of a kernel in a table
const PLACE = 12; // pixels of one place of the answer

/** Settings by dotted keys as the nested model that `layers` takes. */
export function nested(settings) {
  const root = { model: { blocks: {} } };
  for (const [key, value] of Object.entries(settings)) {
    const parts = key.split(".");
    const last = parts.pop();
    parts.reduce((level, part) => (level[part] ??= {}), root)[last] = value;
  }
  return root.model;
}

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** What of the settings differs from those that the network was trained with. */
const changed = (trained, settings) => Object.fromEntries(Object.entries(settings).filter(([key, value]) => !same(value, trained[key])));

export function startArguments({ content }) {
  // Where the input is normalised the first convolution is the second layer.
  const first = Number(content.settings["model.input_normalization"]);
  const state = { settings: { ...content.settings }, where: "model", layer: first, place: null };
  const update = () => {
    try {
      state.found = layers(nested(state.settings), content.image_shape, content.classes.length);
      state.refusal = null;
      state.layer = Math.min(state.layer, state.found.findLastIndex(({ output }) => output.length === 3));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      state.refusal = error;
    }
    showRefusal(state.refusal);
    showLines(content, state);
    showMeasured(content, state, again);
    showActivation(valueOf(state, "conv.activation"));
    if (state.refusal) return;
    showCosts(content, state, update);
    showField(content, state);
    showWeights(content, state);
  };
  const again = () => {
    fillControls(content, state, again, update);
    update();
  };
  byId("where").append(...state.settings["model.depth"] > 1 ? Array.from({ length: state.settings["model.depth"] }, (_, index) =>
    element("option", { value: `model.blocks.block${index + 1}`, text: `block${index + 1} alone` })) : []);
  byId("where").addEventListener("change", ({ target: { value } }) => {
    Object.assign(state, { where: value, layer: Math.max(first, state.found.findIndex(({ name }) => name === `${value.split(".").at(-1)}_conv`)), place: null });
    again();
  });
  byId("as-trained").addEventListener("click", () => {
    state.settings = { ...content.settings };
    again();
  });
  choosesPlaces(byId("field-answer"), () => state.found[state.layer].output, () => state.place, (place) => {
    state.place = place;
    showField(content, state);
  });
  fillControls(content, state, again, update);
  drawnAgain(update);
}

/** The value of an argument for all blocks, or in the one that is chosen. */
function valueOf({ settings, where }, path) {
  const own = settings[`${where}.${path}`];
  if (own !== undefined || where === "model") return own;
  const growth = path === "conv.filters" ? settings["model.filter_growth"] ** (Number(where.match(/\d+/)[0]) - 1) : 1;
  return growth === 1 ? settings[`model.${path}`] : settings[`model.${path}`] * growth;
}

/** Fill each control of the page: `data-control` is the path of what it sets, `data-kind` how it is set. */
function fillControls({ choices, settings: trained }, state, again, update) {
  document.querySelectorAll("[data-control]").forEach((host) => {
    const path = host.dataset.control;
    const name = path.replace("conv.", "");
    const set = (value) => {
      const key = `${state.where}.${path}`;
      delete state.settings[key];
      // What a block has anyway is not said of it.
      if (state.where === "model" || key in trained || !same(value, valueOf(state, path))) state.settings[key] = value;
      update();
    };
    const options = choices[name] ?? host.dataset.options?.split(" ");
    host.replaceChildren(...CONTROL[host.dataset.kind](valueOf(state, path), set, name, options, again));
  });
}

const numberField = (value, label, isWhole, onchange) => element("input", {
  type: "number", value: value ?? "", step: isWhole ? 1 : "any", min: isWhole ? 1 : 0, "aria-label": label,
  oninput: ({ target }) => onchange(target.value === "" ? null : Number(target.value)),
});

const select = (value, options, label, onchange) => element("select", { "aria-label": label, onchange: ({ target }) => onchange(target.value) },
  options.map((option) => element("option", { value: option, text: option, selected: option === value })));

const CONTROL = {
  count: (value, set, name) => [numberField(value, name, true, set)],
  flag: (value, set, name) => [element("input", { type: "checkbox", "aria-label": name, checked: value, onchange: ({ target }) => set(target.checked) })],
  choice(value, set, name, options) {
    // What was trained may have arguments, which no control has.
    const own = typeof value === "object" ? value.name : value;
    return [select(own, [...new Set([...options, own])], name, set)];
  },
  size(value, set, name) {
    const both = [...heightWidth(value)];
    const field = (axis) => numberField(both[axis], `${name}, ${axis ? "width" : "height"}`, true, (number) => {
      both[axis] = number;
      set(both[0] === both[1] ? both[0] : [...both]);
    });
    return [field(0), " × ", field(1)];
  },
  parameters(value, set, name, options, again) {
    const kind = select(value?.name ?? "none", options, name, (chosen) => {
      set(structuredClone(PARAMETERS[chosen]));
      again();
    });
    const put = (key, one) => set((value = { ...value, [key]: one }));
    const one = (key) => (key === "axis"
      ? select(Object.keys(AXES).find((text) => same(AXES[text], value.axis)), Object.keys(AXES), `${name}: axis`, (text) => put(key, AXES[text]))
      : numberField(value[key], `${name}: ${key}`, false, (number) => put(key, number)));
    // A bias has one axis.
    const keys = Object.keys(value ?? {}).filter((key) => key !== "name" && !(key === "axis" && name === "bias_constraint"));
    return [kind, ...keys.map((key) => element("label", { class: "parameter" }, `${key} `, one(key)))];
  },
};

function showRefusal(refusal) {
  const said = (refusal?.problems ?? []).map(({ key, message }) => element("p", {}, element("code", { text: key }), `: ${message}`));
  byId("consequences").classList.toggle("refused", refusal !== null);
  byId("refusal").hidden = refusal === null;
  byId("refusal").replaceChildren(element("strong", { text: "There is no such network." }), ...said);
}

const dimensions = (shape) => shape.map(counted).join(" × ");

const range = ({ interval_low: low, interval_high: high }) => `${low.toFixed(2)} to ${high.toFixed(2)}`;

function showCosts({ image_shape: shape }, state, update) {
  const { found, layer } = state;
  const facts = [
    ["leaves it", dimensions(found[layer].output), found[layer].name],
    ["a number sees", fieldSize(found, layer).join(" × "), "pixels of the image"],
    ["parameters", counted(total(found, "parameters")), `${counted(found[layer].parameters)} of them here`],
    ["multiply-adds", counted(total(found, "multiplyAdds")), `${counted(found[layer].multiplyAdds)} of them here`],
    state.measured ? ["accuracy", `${state.measured.mean.toFixed(2)} %`, `${range(state.measured)}, ${state.measured.seeds} seeds`] : ["accuracy", "–", "not measured"],
  ];
  byId("facts").replaceChildren(...facts.map(([title, number, note]) =>
    element("div", { class: "fact" }, element("span", { text: title }), element("strong", { text: number }), element("small", { text: note }))));
  const choose = (index) => {
    Object.assign(state, { layer: index, place: null });
    update();
    byId("layers").querySelector("[aria-pressed=true]").focus();
  };
  const row = (one, index) => {
    const isMap = one.output.length === 3;
    const name = isMap ? element("button", { type: "button", text: one.name, "aria-pressed": String(index === layer), onclick: () => choose(index) }) : one.name;
    const cells = [one.kind.replaceAll("_", " "), dimensions(one.output), isMap ? fieldSize(found, index).join(" × ") : "all",
      one.parameters ? counted(one.parameters) : "", one.multiplyAdds ? counted(one.multiplyAdds) : ""];
    return element("tr", { class: index === layer ? "chosen" : "" }, element("th", { scope: "row" }, name), cells.map((text) => element("td", { text })));
  };
  byId("layers").replaceChildren(...found.map(row));
  byId("image-size").textContent = dimensions(shape);
}

/** A value as it is typed for Hydra. */
function typed(value) {
  if (Array.isArray(value)) return `[${value.map(typed).join(",")}]`;
  if (value !== null && typeof value === "object") return `{${Object.entries(value).map(([key, one]) => `${key}: ${typed(one)}`).join(", ")}}`;
  return typeof value === "number" ? pythonNumber(value) : String(value);
}

/** What is typed after `python -m pipeline.compose` for these settings, where the trained ones stand. */
export const overrides = (trained, settings) => Object.entries(changed(trained, settings)).sort().map(([key, value]) => {
  const text = `${key in trained ? "" : "+"}${key}=${typed(value)}`;
  return /[[{]/.test(text) ? `'${text}'` : text;
});

/** The line of Keras that makes a layer: what is Keras's own default is left out. */
export function kerasLine(conv) {
  const text = (value) => {
    if (Array.isArray(value)) return `(${value.join(", ")})`;
    if (typeof value === "boolean") return value ? "True" : "False";
    return typeof value === "number" ? pythonNumber(value) : JSON.stringify(value);
  };
  const made = (argument, { name, ...parameters }) => {
    if (name === "RadialConstraint") return "RadialConstraint()";
    const known = Object.entries(parameters).map(([key, value]) => `${key}=${key === "axis" ? `[${value.join(", ")}]` : text(value)}`);
    const kind = { l1: "L1", l2: "L2", l1_l2: "L1L2" }[name] ?? name.replace(/(^|_)([a-z])/g, (_, __, letter) => letter.toUpperCase());
    return `keras.${argument.split("_").at(-1)}s.${kind}(${known.join(", ")})`;
  };
  const others = Object.entries(conv).filter(([name, value]) => name !== "filters" && name !== "kernel_size" && value !== null && !same(value, DEFAULTS[name]));
  const said = others.map(([name, value]) => `${name}=${value.name ? made(name, value) : text(value)}`);
  return `keras.layers.Conv2D(${[text(conv.filters), text(conv.kernel_size), ...said].join(", ")})`;
}

function showLines({ settings: trained }, state) {
  const names = Object.keys(nested(trained).conv);
  byId("keras-line").textContent = kerasLine(Object.fromEntries(names.map((name) => [name, valueOf(state, `conv.${name}`)])));
  const words = overrides(trained, state.settings);
  byId("override").textContent = words.length ? `python -m pipeline.compose ${words.join(" ")}` : "as it was trained: nothing to change";
}

function showMeasured({ settings: trained, measured }, state, again) {
  const here = changed(trained, state.settings);
  const isHere = ({ changes }) => !state.refusal && same(Object.entries(changes).sort(), Object.entries(here).sort());
  const choose = ({ changes, study }) => {
    Object.assign(state, { settings: { ...trained, ...structuredClone(changes) }, where: "model" });
    byId("where").value = "model";
    again();
    byId("measured").querySelector(`[data-study="${CSS.escape(study)}"] .here`).focus();
  };
  const show = (found, study, rows) => {
    const points = strip(rows.map((row) => ({ ...row, isHere: isHere(row), onchoose: () => choose(row) })), `settings of the study ${study}`);
    const [{ epochs, batch_size: batch, precision, held_out: images }] = rows;
    const scored = study.endsWith("_on_test") ? "test images" : `${counted(images)} images held out of the training`;
    return element("div", { "data-study": study }, found, points, soft(`Study ${study}: ${epochs} epochs, batches of ${batch}, ${precision}; scored on ${scored}.`));
  };
  const say = (row) => element("p", { class: "found" }, element("strong", { text: `${row.mean.toFixed(2)} %` }),
    ` of the images right, the mean of ${row.seeds} trainings; 95 % interval ${range(row)}`,
    ...Object.entries(row.others).map(([key, value]) => `; ${key} ${value}`));
  state.measured = measured.find(isHere);
  const [own, others, said] = [[], [], new Set()];
  for (const study of new Set(measured.map((row) => row.study))) {
    const rows = measured.filter((row) => row.study === study);
    // Studies share runs: what one has said is not said again.
    const found = rows.filter(isHere).filter(({ mean, seeds }) => !said.has(`${mean} ${seeds}`));
    found.forEach(({ mean, seeds }) => said.add(`${mean} ${seeds}`));
    (found.length ? own : others).push(show(found.map(say), study, rows));
  }
  const nothing = measured.length ? "This setting was not measured. Each point is one that was: choose it." : "No declared study of this network has a report yet.";
  const list = element("details", { open: state.isListed ?? !own.length },
    element("summary", { class: "soft", text: "Other settings that were measured", onclick: () => (state.isListed = !list.open) }), others);
  byId("measured").replaceChildren(...(own.length ? own : [soft(nothing)]), ...(others.length ? [list] : []));
}

/** Draw the image with what one place of the chosen layer sees of it, and the layer's places. */
function showField(content, state) {
  if (state.refusal) return;
  const { found, layer } = state;
  const [height, width] = content.image_shape;
  const [rows, columns] = found[layer].output;
  state.place ??= [Math.floor(rows / 2), Math.floor(columns / 2)];
  const place = state.place = [Math.min(state.place[0], rows - 1), Math.min(state.place[1], columns - 1)];
  const first = found.find(({ kind }) => kind === "conv2d");
  const walks = [walk(first.window, 0, height), walk(first.window, 1, width)];
  const [above, left] = walks.map(({ before }) => before);
  const [down, across] = [height + walks[0].added, width + walks[1].added];
  const cell = Math.max(2, Math.floor(336 / Math.max(down, across)));
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  const canvas = byId("field-image");
  Object.assign(canvas, { width: across * cell, height: down * cell });
  const context = canvas.getContext("2d");
  Object.assign(context, { fillStyle: color("cell"), imageSmoothingEnabled: false });
  context.fillRect(0, 0, canvas.width, canvas.height);
  const image = element("canvas");
  paintImage(image, fromBytes(content.pictures.right[0].pixels, content.image_shape));
  context.drawImage(image, left * cell, above * cell, width * cell, height * cell);
  const [[top, bottom], [start, end]] = [0, 1].map((axis) => receptiveField(found, layer, axis, place[axis]));
  Object.assign(context, { strokeStyle: color("negative"), lineWidth: 2.5, fillStyle: color("negative") });
  context.strokeRect((start + left) * cell + 1, (top + above) * cell + 1, (end - start + 1) * cell - 2, (bottom - top + 1) * cell - 2);
  if (found[layer] === first) drawTaps(context, walks, place, cell);
  const answer = byId("field-answer");
  Object.assign(answer, { width: columns * PLACE, height: rows * PLACE });
  for (let index = 0; index < rows * columns; index++) {
    const [row, column] = [Math.floor(index / columns), index % columns];
    answer.getContext("2d").fillStyle = color(row === place[0] && column === place[1] ? "negative" : "cell");
    answer.getContext("2d").fillRect(column * PLACE, row * PLACE, PLACE - 1, PLACE - 1);
  }
  const seen = `from rows ${top} to ${bottom} and columns ${start} to ${end} of the image.`;
  const padding = paddingInWords(first.window, walks);
  byId("field-caption").textContent = `A number of ${found[layer].name}, row ${place[0]}, column ${place[1]}: ${seen} ${padding}`;
}

/** A dot for each weight of the first layer's kernel, a ring for its middle. */
function drawTaps(context, walks, place, cell) {
  const [rows, columns] = walks.map(({ kernel, dilation, stride }, axis) => Array.from({ length: kernel }, (_, tap) => place[axis] * stride + tap * dilation));
  context.globalAlpha = 0.75;
  for (const y of rows) for (const x of columns) context.fillRect((x + 0.3) * cell, (y + 0.3) * cell, cell * 0.4, cell * 0.4);
  context.globalAlpha = 1;
  const [y, x] = [rows, columns].map((taps) => (taps[0] + taps.at(-1) + 1) / 2);
  context.beginPath();
  context.arc(x * cell, y * cell, Math.max(3, cell * 0.45), 0, 7);
  context.stroke();
}

function paddingInWords(conv, walks) {
  const [[above, below], [left, right]] = walks.map(({ before, added }) => [before, added - before]);
  const isEven = walks.some(({ kernel }) => kernel % 2 === 0);
  const middle = isEven ? " An even kernel’s middle (the ring) lies between pixels: where zeros can’t be shared evenly, one more goes below and right." : "";
  if (conv.padding === "valid") return `valid adds nothing, so the answer is smaller and the border is seen less often.${middle}`;
  return `same adds ${above} rows of zeros above and ${below} below, ${left} columns left and ${right} right of the image.${middle}`;
}

function showActivation(name) {
  const value = (x) => {
    const pair = Float32Array.from([x, 0]);
    activate(pair, name, 2);
    return pair[0];
  };
  const points = Array.from({ length: 161 }, (_, index) => [index / 20 - 4, value(index / 20 - 4)]);
  const together = ACTIVATIONS[name] ? "" : " It is taken over all channels of a place; drawn is the first of two, x and 0.";
  const lines = [{ points: [[-2, -2], [4, 4]], kind: "faint" }, { points, kind: "main" }];
  const axes = { x: [-4, 4], y: [-2, 4], ticks: { x: [-4, -2, 0, 2, 4], y: [-2, 0, 2, 4] } };
  const [below, at, above] = [-1, 0, 1].map((x) => written(value(x)));
  byId("activation").replaceChildren(
    chart(lines, { ...axes, label: `the curve of ${name}` }),
    soft(`${name} turns a sum of −1 into ${below}, 0 into ${at}, 1 into ${above}.${together}`));
}

/** How the kernels of the chosen block begin, and what regularizer and constraint do to them. */
function showWeights(content, state) {
  const { block: { conv }, input } = state.found.find(({ name }) => name === (state.where === "model" ? "block1" : state.where.split(".").at(-1)) + "_conv");
  const shape = [...heightWidth(conv.kernel_size), input[2] / conv.groups, conv.filters];
  showInitializer(conv.kernel_initializer, shape);
  showRegularizer(conv.kernel_regularizer, content.training.learning_rate);
  showConstraint(conv.kernel_constraint, conv.kernel_initializer, shape);
}

function showInitializer(initializer, shape) {
  const { kind, size, middle } = distribution(initializer, shape);
  const name = initializer.name ?? initializer;
  const half = kind === "constant" ? 1.5 : (kind === "uniform" ? BINS / (BINS - 6) : 3.2) * size;
  const [least, most] = [middle - half, middle + half];
  const counts = new Array(BINS).fill(0);
  drawn({ kind, size, middle }, SAMPLE).forEach((value) => (counts[Math.min(Math.max(Math.floor(((value - least) / (2 * half)) * BINS), 0), BINS - 1)] += 1));
  const edge = (index) => least + (index / BINS) * 2 * half;
  const bars = counts.map((count, index) => [edge(index), edge(index + 1), count]);
  const around = middle === 0 ? "" : ` around ${written(middle)}`;
  const said = {
    constant: `every weight is ${middle}`,
    uniform: `any number from ${written(middle - size)} to ${written(middle + size)}, each as likely`,
    normal: `bell-shaped${around}, standard deviation ${written(size)}`,
    truncated: `bell-shaped${around}, nothing beyond ± ${written(2 * size)}`,
    orthogonal: `filters at right angles to each other; about bell-shaped, standard deviation ${written(size)}`,
  }[kind];
  const end = ["constant", "uniform"].includes(kind) ? size : 2 * size;
  byId("initializer").replaceChildren(
    chart([], { x: [least, most], y: [0, Math.max(...counts) * 1.1], ticks: { x: [middle - end, middle, middle + end], y: [] }, bars, label: `histogram of ${name}` }),
    soft(`${name} of ${dimensions(shape)} weights: ${said}.`));
}

function showRegularizer(regularizer, rate) {
  if (regularizer === null) return byId("regularizer").replaceChildren(soft("No kernel_regularizer: the loss alone moves weights."));
  const paths = [1, 0.5, -0.5].map((weight) => shrunk(weight, regularizer, rate, STEPS));
  const lines = paths.map((path) => ({ kind: "main", points: path.map((weight, step) => [step, weight]).filter(([step]) => step % 40 === 0) }));
  const ends = paths.map((path) => written(path.at(-1), 2)).join(", ");
  const how = regularizer.l1 ? "l1 takes the same away from each, until it is 0." : "l2 takes a share away: large weights lose most, and none becomes 0.";
  return byId("regularizer").replaceChildren(
    chart(lines, { x: [0, STEPS], y: [-0.6, 1.1], ticks: { x: [0, STEPS / 2, STEPS], y: [-0.5, 0, 0.5, 1] }, label: "weights by step" }),
    soft(`By itself, in ${counted(STEPS)} steps at rate ${rate}, it makes of weights of 1, 0.5 and −0.5: ${ends}. ${how}`));
}

function showConstraint(constraint, initializer, shape) {
  // Ten times as large as they begin: as if training had made them grow.
  const before = drawn(distribution(initializer, shape), shape.reduce((one, other) => one * other, 1), 7).map((x) => 10 * x);
  const first = (weights) => Array.from(channelOf({ shape: [shape[0], shape[1], shape[2] * shape[3]], data: weights }));
  const table = (weights, label) => numbersTable(shape[1], first(weights), { scale: largest(first(before)), label });
  const tables = [table(before, "a kernel"), table(constrained(before, shape, constraint), "as it is put back")];
  const axis = constraint?.axis ? ` Length is taken over axis [${constraint.axis.join(", ")}] of [height, width, channels, filters].` : "";
  const text = constraint === null ? "No kernel_constraint: weights may become anything." : WHAT_IT_DOES[constraint.name] + axis;
  const isShown = constraint !== null && shape[0] * shape[1] <= MOST_TABLED;
  byId("constraint").replaceChildren(...(isShown ? [element("div", { class: "pair" }, tables)] : []), soft(text));
}
