// What a network is made of and costs, and what is refused: the twin of pipeline/config/schema.py and layers.py.
// A test holds every number and every sentence against them.

const LARGEST_SIZE = 4096;
const MOST_PARAMETERS = 100_000_000;
const OVER_THE_LAST_AXIS = ["log_softmax", "softmax", "sparsemax"];
const FROM_0 = { least: 0, most: 1e6 };
const NUMBERS = { l1: FROM_0, l2: FROM_0, max_value: FROM_0, min_value: FROM_0, rate: { least: 0, most: 1 } };

/** What can't be: `problems` are [{key, message}], as `python -m pipeline.check` says them. */
export class Refusal extends Error {
  constructor(problems) {
    super(problems.map(({ key, message }) => `${key}: ${message}`).join("\n"));
    this.problems = problems;
  }
}

/** A kernel or a window that is larger than what reaches it in block `number`; what helps beside a smaller one. */
class TooLarge extends Error {
  constructor(number, argument, message, otherWays) {
    super(message);
    Object.assign(this, { number, argument, otherWays });
  }
}

const refuse = (key, message) => {
  throw new Refusal([{ key, message }]);
};

/** A size as [height, width]. */
export const heightWidth = (size) => (Array.isArray(size) ? size : [size, size]);

/** A size in which two equal numbers are one. */
const plainSize = (size) => (Array.isArray(size) && size[0] === size[1] ? size[0] : size);

const product = (numbers) => numbers.reduce((one, other) => one * other, 1);

export const counted = (number) => number.toLocaleString("en-US");

/** A number as Python writes it; with `isFloat` a whole one ends in .0. */
export function pythonNumber(number, isFloat = false) {
  if (number !== 0 && (Math.abs(number) < 1e-4 || Math.abs(number) >= 1e16)) {
    return number.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
  }
  return Number.isInteger(number) && isFloat ? `${number}.0` : String(number);
}

/** A value as a person would write it in YAML. */
function shown(value, isFloat = false) {
  if (typeof value === "number") return pythonNumber(value, isFloat);
  return Array.isArray(value) ? `[${value.map((one) => shown(one)).join(", ")}]` : JSON.stringify(value);
}

/** The layers from the image [height, width, channels] to one number a class.
 *
 * Each is {name, kind, input, output, parameters, multiplyAdds, block, window, activation}: `window` is what slides in it
 * ({kernel_size, strides, dilation_rate, padding}). Throws a Refusal where no such network exists.
 */
export function layers(model, imageShape, classes) {
  const problems = [...blockProblems(model, "model")];
  if (problems.length) throw new Refusal(problems);
  try {
    return walkLayers(model, imageShape, classes);
  } catch (error) {
    if (!(error instanceof TooLarge)) throw error;
    const key = keyOf(model, error.number, error.argument);
    const largest = largestThatFits(model, key, imageShape, classes);
    refuse(key, `${error.message} Use ${largest ? `at most ${largest}, ` : ""}${error.otherWays}, or a smaller depth.`);
  }
}

/** The largest number at `key` with which every kernel and window of the network fits its input; 0 for none. */
function largestThatFits(model, key, imageShape, classes) {
  const [, ...way] = key.split(".");
  const last = way.pop();
  const fails = (size) => {
    const changed = structuredClone(model);
    way.reduce((level, part) => level[part], changed)[last] = size;
    try {
      walkLayers(changed, imageShape, classes);
    } catch (error) {
      // Another key's fault comes next.
      return error instanceof TooLarge;
    }
    return false;
  };
  let [fits, most] = [0, Math.min(imageShape[0], imageShape[1])];
  while (fits < most) {
    const middle = Math.floor((fits + most + 1) / 2);
    if (fails(middle)) most = middle - 1;
    else fits = middle;
  }
  return fits;
}

function walkLayers(model, imageShape, classes) {
  const found = [];
  let shape = imageShape;
  const add = (made) => {
    for (const layer of made) {
      found.push({ input: shape, parameters: 0, multiplyAdds: 0, ...layer });
      shape = layer.output;
    }
  };
  if (model.input_normalization) add([normLayer("input_norm", shape)]);
  blocks(model).forEach((block, index) => add(blockLayers(model, index + 1, block, shape)));
  add(headLayers(model, shape, classes));
  const parameters = total(found, "parameters");
  if (parameters > MOST_PARAMETERS) {
    const largest = found.reduce((most, layer) => (layer.parameters > most.parameters ? layer : most));
    refuse("model", `${counted(parameters)} parameters (${largest.name} has most) are more than ${counted(MOST_PARAMETERS)}.`);
  }
  return found;
}

/** The sum of what all layers have of `what`. */
export const total = (found, what) => found.reduce((sum, layer) => sum + layer[what], 0);

/** What is wrong with the values of a block by themselves. */
function* blockProblems(block, key) {
  const before = [...convProblems(block.conv, `${key}.conv`)];
  yield* before.length ? before : togetherProblems(block.conv, `${key}.conv`);
  yield* sizeProblem(block.pool_size, `${key}.pool_size`);
}

function* convProblems(conv, key) {
  for (const [name, value] of Object.entries(conv)) {
    const here = `${key}.${name}`;
    if (["kernel_size", "strides", "dilation_rate"].includes(name)) yield* sizeProblem(value, here);
    if (["filters", "groups"].includes(name)) yield* numberProblem(value, here, { least: 1, most: LARGEST_SIZE, whole: true });
    if (value === null || typeof value !== "object") continue;
    for (const [parameter, number] of Object.entries(value)) {
      if (parameter in NUMBERS) yield* numberProblem(number, `${here}.${parameter}`, NUMBERS[parameter]);
    }
    if (value.name === "MinMaxNorm") yield* orderProblem(value, here);
  }
}

function* sizeProblem(size, key) {
  const numbers = heightWidth(size);
  if (numbers.length !== 2 || !numbers.every((one) => Number.isInteger(one) && one >= 1 && one <= LARGEST_SIZE)) {
    const message = `must be a whole number from 1 to ${LARGEST_SIZE}, or two as [height, width], not ${shown(size)}.`;
    yield { key, message };
  }
}

function* numberProblem(value, key, { least, most, whole = false }) {
  const isNumber = typeof value === "number" && (!whole || Number.isInteger(value));
  if (!isNumber) yield { key, message: `must be a ${whole ? "whole " : ""}number, not ${shown(value)}.` };
  else if (value < least) yield { key, message: `must be at least ${shown(least, !whole)}, not ${shown(value)}.` };
  else if (value > most) yield { key, message: `must be at most ${shown(most, !whole)}, not ${shown(value)}.` };
}

function* orderProblem(constraint, key) {
  const { min_value: least, max_value: most, rate } = constraint;
  const each = Object.entries({ min_value: least, max_value: most, rate });
  if (each.some(([name, value]) => [...numberProblem(value, name, NUMBERS[name])].length) || least <= most) return;
  const message = `min_value must not be larger than max_value (${shown(most, true)}), not ${shown(least, true)}.`;
  yield { key: `${key}.min_value`, message };
}

/** What is wrong with arguments that are right by themselves: the first that is found. */
function* togetherProblems(conv, key) {
  const constraint = conv.bias_constraint;
  if (OVER_THE_LAST_AXIS.includes(conv.activation) && conv.data_format === "channels_first") {
    const rule = "with channels_first must not be taken over the last axis, which is the width; use channels_last";
    yield { key: `${key}.activation`, message: `${rule}, not ${shown(conv.activation)}.` };
  } else if (constraint?.axis && shown(constraint.axis) !== "[0]") {
    yield { key: `${key}.bias_constraint.axis`, message: `a bias has one axis: use [0], not ${shown(constraint.axis)}.` };
  } else if (constraint?.name === "RadialConstraint") {
    const rule = "RadialConstraint is for kernels; a bias has no radius. Use null";
    yield { key: `${key}.bias_constraint`, message: `${rule}, not "RadialConstraint".` };
  }
}

/** The blocks as they are built, each with every argument; what has no effect stands at one value. */
function blocks(model) {
  const names = Array.from({ length: model.depth }, (_, index) => `block${index + 1}`);
  const unknown = Object.keys(model.blocks).filter((name) => !names.includes(name));
  if (unknown.length) {
    const there = `depth ${model.depth} has block1${model.depth > 1 ? ` to ${names.at(-1)}` : ""}`;
    const message = (key) => `is no block: ${there}. Where a variant says it: ${key}=null`;
    throw new Refusal(unknown.map((name) => `model.blocks.${name}`).map((key) => ({ key, message: message(key) })));
  }
  return names.map((name, index) => {
    const changes = model.blocks[name] ?? {};
    const { batch_normalization, pooling, pool_size, pool_strides, pool_padding, dropout } = { ...model, ...changes };
    const conv = { ...model.conv, ...changes.conv };
    if (changes.conv?.filters === undefined) conv.filters = grown(model, index + 1);
    const block = { conv, batch_normalization, pooling, pool_size, pool_strides, pool_padding, dropout };
    const problems = [...blockProblems(block, `model.blocks.${name}`)];
    if (problems.length) throw new Refusal(problems);
    return asBuilt(block);
  });
}

function grown(model, number) {
  const filters = model.conv.filters * model.filter_growth ** (number - 1);
  const whole = Math.round(filters);
  if (Math.abs(filters - whole) > 1e-6 || filters < 1 || filters > LARGEST_SIZE) {
    const rule = `it must make a whole number from 1 to ${LARGEST_SIZE}.`;
    const made = `${Number(filters.toPrecision(6))} filters of ${model.conv.filters} in block ${number}`;
    refuse("model.filter_growth", `${shown(model.filter_growth, true)} makes ${made}; ${rule}`);
  }
  return whole;
}

function asBuilt(block) {
  const conv = { ...block.conv };
  const built = { ...block, conv };
  const kernel = heightWidth(conv.kernel_size);
  if (Math.max(...heightWidth(conv.strides)) === 1) {
    conv.dilation_rate = plainSize(heightWidth(conv.dilation_rate).map((rate, axis) => (kernel[axis] === 1 ? 1 : rate)));
  }
  const isPixel = plainSize(block.pool_size) === 1;
  if (block.pooling === "none" || (isPixel && plainSize(block.pool_strides ?? 1) === 1)) {
    Object.assign(built, { pooling: "none", pool_size: 1 });
    if (block.batch_normalization === "after_pooling") built.batch_normalization = "after_activation";
  } else if (isPixel) {
    built.pooling = "max";
  }
  if (block.batch_normalization === "before_activation" && conv.activation === "linear") {
    built.batch_normalization = "after_activation";
  }
  return built;
}

const normLayer = (name, output, block) => ({ name, kind: "batch_normalization", output, parameters: 4 * output.at(-1), block });

/** What slides in the pooling of a block. */
const poolWindow = ({ pool_size, pool_strides, pool_padding }) =>
  ({ kernel_size: pool_size, strides: pool_strides ?? pool_size, dilation_rate: 1, padding: pool_padding });

function* blockLayers(model, number, block, input) {
  const name = `block${number}`;
  const { conv, batch_normalization: normalized } = block;
  const output = convOutput(model, number, conv, input);
  const weights = product(heightWidth(conv.kernel_size)) * (input[2] / conv.groups) * conv.filters;
  const parameters = weights + (conv.use_bias ? conv.filters : 0);
  const isDelayed = normalized === "before_activation";
  const activation = isDelayed ? "linear" : conv.activation;
  yield { name: `${name}_conv`, kind: "conv2d", output, parameters, multiplyAdds: weights * output[0] * output[1], block, window: conv, activation };
  if (isDelayed || normalized === "after_activation") yield normLayer(`${name}_norm`, output, block);
  if (isDelayed) yield { name: `${name}_activation`, kind: "activation", output, block, activation: conv.activation };
  const window = poolWindow(block);
  const pooled = block.pooling === "none" ? output : poolOutput(model, number, window, output);
  if (block.pooling !== "none") yield { name: `${name}_pool`, kind: `${block.pooling}_pooling`, output: pooled, block, window };
  if (normalized === "after_pooling") yield normLayer(`${name}_norm`, pooled, block);
  if (block.dropout > 0) yield { name: `${name}_dropout`, kind: "dropout", output: pooled, block };
}

function* headLayers(model, [height, width, channels], classes) {
  let features = model.head === "flatten" ? height * width * channels : channels;
  const window = { kernel_size: [height, width], strides: 1, dilation_rate: 1, padding: "valid" };
  yield { name: "head", kind: height === 1 && width === 1 ? "flatten" : model.head, output: [features], window };
  if (model.output === "head") {
    checkOutput(model, features, classes);
    return;
  }
  if (model.head_dropout > 0) yield { name: "head_dropout", kind: "dropout", output: [features] };
  const dense = (name, units, activation) => {
    const cost = { parameters: (features + 1) * units, multiplyAdds: features * units };
    features = units;
    return { name, kind: "dense", output: [units], ...cost, activation };
  };
  const { units: every, activation, batch_normalization: normalized, dropout } = model.dense;
  const isDelayed = normalized === "before_activation";
  for (const [index, units] of every.entries()) {
    const name = `dense${index + 1}`;
    yield dense(name, units, isDelayed ? "linear" : activation);
    if (normalized !== "none") yield normLayer(`${name}_norm`, [units]);
    if (isDelayed) yield { name: `${name}_activation`, kind: "activation", output: [units], activation };
    if ((dropout[index] ?? dropout) > 0) yield { name: `${name}_dropout`, kind: "dropout", output: [units] };
  }
  yield dense("output", classes, "linear");
}

/** Refuse a head that can't be one number a class. */
function checkOutput(model, features, classes) {
  const last = `block${model.depth}`;
  if (model.dense.units.length || model.head_dropout > 0) {
    const key = model.dense.units.length ? "dense.units" : "head_dropout";
    refuse(`model.${key}`, "has no place with output head, which has no dense layer. Leave it out there.");
  }
  if (features === classes) return;
  const made = `head makes ${counted(features)} numbers of ${last}, not one for each of the ${classes} classes.`;
  const way = `model.head=global_average +model.blocks.${last}.conv.filters=${classes}`;
  refuse("model.output", `${made} Use a global head and ${classes} filters there: ${way}`);
}

/** Along one axis (0: height, 1: width) how a window walks: {kernel, reach, stride, dilation, places, added, before}.
 *
 * `reach` is what it spans; of the rows of zeros that `same` has `added` so many lie `before` (the odd one goes below).
 * `places` is 0 or less where it is larger than its input.
 */
export function walk({ kernel_size, strides, dilation_rate, padding }, axis, size) {
  const [kernel, stride, dilation] = [kernel_size, strides, dilation_rate].map((one) => heightWidth(one)[axis]);
  const reach = (kernel - 1) * dilation + 1;
  const isSame = padding === "same";
  const places = isSame ? Math.ceil(size / stride) : Math.floor((size - reach) / stride) + 1;
  const added = isSame ? Math.max((places - 1) * stride + reach - size, 0) : 0;
  return { kernel, reach, stride, dilation, places, added, before: Math.floor(added / 2) };
}

function convOutput(model, number, conv, [height, width, channels]) {
  const [strides, dilation] = [heightWidth(conv.strides), heightWidth(conv.dilation_rate)];
  if (Math.max(...strides) > 1 && Math.max(...dilation) > 1) {
    const both = `${shown(plainSize(conv.dilation_rate))} together with strides ${shown(plainSize(conv.strides))}`;
    const advice = "Conv2D takes one of the two. Set strides or dilation_rate to 1.";
    refuse(keyOf(model, number, "conv.dilation_rate"), `${both} in block ${number}: ${advice}`);
  }
  if (channels % conv.groups !== 0 || conv.filters % conv.groups !== 0) {
    const largest = gcd(channels, conv.filters);
    const rule = `must divide both the ${channels} channels that reach block ${number} and its ${conv.filters} filters.`;
    const advice = largest > 1 ? `${largest} or a divisor of it` : 1;
    refuse(keyOf(model, number, "conv.groups"), `${conv.groups} ${rule} Use ${advice}.`);
  }
  const [down, across] = [walk(conv, 0, height), walk(conv, 1, width)];
  if (Math.min(down.places, across.places) < 1) {
    const dilated = Math.max(...dilation) > 1 ? ` (dilated to ${down.reach} × ${across.reach})` : "";
    const rule = `is larger than the ${height} × ${width} input of block ${number} (padding valid).`;
    const size = shown(plainSize(conv.kernel_size));
    throw new TooLarge(number, "conv.kernel_size", `${size}${dilated} ${rule}`, "padding same");
  }
  return [down.places, across.places, conv.filters];
}

function poolOutput(model, number, window, [height, width, channels]) {
  const places = [walk(window, 0, height).places, walk(window, 1, width).places];
  if (Math.min(...places) < 1) {
    const rule = `is larger than the ${height} × ${width} that reaches the pooling of block ${number}: nothing of the image would be left.`;
    throw new TooLarge(number, "pool_size", `${shown(plainSize(window.kernel_size))} ${rule}`, "pooling none there");
  }
  return [...places, channels];
}

const gcd = (one, other) => (other === 0 ? one : gcd(other, one % other));

/** Where the argument of a block was set: in the block's own changes or for all blocks. */
function keyOf(model, number, argument) {
  const name = `block${number}`;
  const own = argument.split(".").reduce((level, part) => level?.[part], model.blocks[name]);
  return own === undefined ? `model.${argument}` : `model.blocks.${name}.${argument}`;
}

/** The rows (axis 0) or columns (1) of the image, [first, last], from which layer `index` computes place `place`.
 *
 * What lies outside of the image is the first layer's padding; farther in, padding is no part of it. With `isEndless`
 * no border cuts it off.
 */
export function receptiveField(found, index, axis, place, isEndless = false) {
  let [first, last] = [place, place];
  const padded = found.findIndex(({ window }) => window);
  for (let number = index; number >= 0; number--) {
    const { input, window } = found[number];
    if (!window) continue;
    const { stride, reach, before } = walk(window, axis, input[axis]);
    [first, last] = [first * stride - before, last * stride - before + reach - 1];
    if (number > padded && !isEndless) [first, last] = [Math.max(first, 0), Math.min(last, input[axis] - 1)];
  }
  return [first, last];
}

/** How many rows and columns of the image one place of layer `index` sees, where no border is near. */
export const fieldSize = (found, index) => [0, 1].map((axis) => {
  const [first, last] = receptiveField(found, index, axis, 0, true);
  return last - first + 1;
});
