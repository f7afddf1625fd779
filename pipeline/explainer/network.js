// What a network computes, layer by layer, channels last: {shape: [height, width, channels] or [features], data}.
// A test holds it against Keras on 100 test images and on networks drawn at random.

import { heightWidth, walk } from "./arithmetic.js";

const NORMALIZATION_EPSILON = 1e-3; // Keras’s
const PATCH = 0.2; // of the image's side, what an occlusion map hides at a time
const GREY = 0.5;

/** Numbers from base64: float32, or float16 where the network is large (`bytes` a number: 4 or 2). */
export function decoded({ shape, bytes, base64 }) {
  const raw = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)).buffer;
  const data = bytes === 4 ? new Float32Array(raw) : Float32Array.from(new Uint16Array(raw), half);
  return { shape, data };
}

function half(bits) {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 0x1f, bits & 0x3ff];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const clipped = (x, least, most) => Math.min(Math.max(x, least), most);

/** The error function to 1e-7, by its series and, farther out, its continued fraction. */
function erf(x) {
  const size = Math.abs(x);
  if (size > 6) return Math.sign(x);
  if (size < 2.5) {
    let [term, sum] = [x, x];
    for (let n = 1; n < 60; n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = size;
  for (let n = 40; n > 0; n--) fraction = size + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-size * size) / Math.sqrt(Math.PI) / fraction);
}

/** Keras's activations of one number. */
export const ACTIVATIONS = {
  celu: (x) => (x > 0 ? x : Math.expm1(x)),
  elu: (x) => (x > 0 ? x : Math.expm1(x)),
  exponential: Math.exp,
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  hard_shrink: (x) => (Math.abs(x) > 0.5 ? x : 0),
  hard_sigmoid: (x) => clipped(x + 3, 0, 6) / 6,
  hard_silu: (x) => (x * clipped(x + 3, 0, 6)) / 6,
  hard_tanh: (x) => clipped(x, -1, 1),
  leaky_relu: (x) => (x > 0 ? x : 0.2 * x),
  linear: (x) => x,
  log_sigmoid: (x) => -softplus(-x),
  mish: (x) => x * Math.tanh(softplus(x)),
  relu: (x) => (x > 0 ? x : 0),
  relu6: (x) => clipped(x, 0, 6),
  selu: (x) => 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x)),
  sigmoid,
  silu: (x) => x * sigmoid(x),
  soft_shrink: (x) => Math.sign(x) * Math.max(Math.abs(x) - 0.5, 0),
  softplus,
  softsign: (x) => x / (1 + Math.abs(x)),
  sparse_plus: (x) => (x <= -1 ? 0 : x < 1 ? (x + 1) ** 2 / 4 : x),
  sparse_sigmoid: (x) => clipped((x + 1) / 2, 0, 1),
  squareplus: (x) => (x + Math.sqrt(x * x + 4)) / 2,
  tanh: Math.tanh,
  tanh_shrink: (x) => x - Math.tanh(x),
};

/** Keras's activations of all channels of a place together. */
const OF_ALL_CHANNELS = {
  softmax(values) {
    const largest = Math.max(...values);
    const powers = Array.from(values, (x) => Math.exp(x - largest));
    const sum = powers.reduce((one, other) => one + other, 0);
    return powers.map((x) => x / sum);
  },
  log_softmax(values) {
    const largest = Math.max(...values);
    const sum = Array.from(values).reduce((one, x) => one + Math.exp(x - largest), 0);
    return Array.from(values, (x) => x - largest - Math.log(sum));
  },
  // As Keras 3.15.1 computes it: it adds up all running sums, where Martins et al. (2016) take the last alone.
  sparsemax(values) {
    const sorted = Array.from(values).sort((one, other) => other - one);
    let [running, sums, count] = [0, 0, 0];
    for (const [index, x] of sorted.entries()) {
      running += x;
      if (x - (running - 1) / (index + 1) <= 0) continue;
      sums += running;
      count += 1;
    }
    return Array.from(values, (x) => Math.max(x - (sums - 1) / count, 0));
  },
};

export const softmax = OF_ALL_CHANNELS.softmax;

/** The activation `name` of `data`, in which each `channels` numbers are one place; `data` itself is changed. */
export function activate(data, name, channels) {
  const [alone, together] = [ACTIVATIONS[name], OF_ALL_CHANNELS[name]];
  for (let index = 0; alone && index < data.length; index++) data[index] = alone(data[index]);
  for (let start = 0; together && start < data.length; start += channels) {
    data.set(together(data.subarray(start, start + channels)), start);
  }
}

/** What leaves each layer for an image {shape, data} in 0..1: tensors in the order of `network.layers`. */
export function forward(network, image) {
  let tensor = image;
  return network.layers.map((layer) => (tensor = apply(layer, tensor, network)));
}

/** One probability a class. */
export const probabilities = (network, image) => Array.from(softmax(forward(network, image).at(-1).data));

function apply(layer, input, { weights, dense }) {
  const { name, kind, output: shape, block } = layer;
  switch (kind) {
    case "conv2d": {
      const delayed = block.batch_normalization === "before_activation";
      const data = convolve(input, weights[`${name}/kernel`], weights[`${name}/bias`], block.conv, shape);
      activate(data, delayed ? "linear" : block.conv.activation, shape[2]);
      return { shape, data };
    }
    case "batch_normalization":
      return { shape, data: normalize(input.data, normalization(weights, name)) };
    case "activation": {
      const data = input.data.slice();
      activate(data, block.conv.activation, shape[2]);
      return { shape, data };
    }
    case "max_pooling":
    case "average_pooling":
      return { shape, data: pool(input, heightWidth(block.pool_size), kind === "max_pooling", shape) };
    case "global_average":
    case "global_max":
      return { shape, data: pool(input, input.shape, kind === "global_max", [1, 1, ...shape]) };
    case "dense": {
      const data = multiply(input.data, weights[`${name}/kernel`], weights[`${name}/bias`]);
      activate(data, name === "output" ? "linear" : dense.activation, shape[0]);
      return { shape, data };
    }
    default: // flatten and dropout: the same numbers
      return { shape, data: input.data };
  }
}

/** Sums over windows: kernel [height, width, channels of a group, filters] → data of [height, width, filters]. */
export function convolve(input, kernel, bias, conv, [rows, columns, filters]) {
  const [height, width, channels] = input.shape;
  const { shape: [, , depth], data: kernels } = kernel;
  const [down, across] = [walk(conv, 0, height), walk(conv, 1, width)];
  const each = filters / conv.groups;
  const data = new Float32Array(rows * columns * filters);
  for (let place = 0; place < rows * columns; place++) {
    const [row, column] = [Math.floor(place / columns), place % columns];
    if (bias) data.set(bias.data, place * filters);
    for (let i = 0; i < down.kernel; i++) {
      const y = row * down.stride - down.before + i * down.dilation;
      if (y < 0 || y >= height) continue;
      for (let j = 0; j < across.kernel; j++) {
        const x = column * across.stride - across.before + j * across.dilation;
        if (x < 0 || x >= width) continue;
        for (let channel = 0; channel < channels; channel++) {
          const value = input.data[(y * width + x) * channels + channel];
          if (value === 0) continue;
          const first = Math.floor(channel / depth) * each;
          const weight = ((i * across.kernel + j) * depth + (channel % depth)) * filters + first;
          const target = place * filters + first;
          for (let filter = 0; filter < each; filter++) data[target + filter] += value * kernels[weight + filter];
        }
      }
    }
  }
  return data;
}

/** The products that a place of a convolution sums: for each channel of its group {channel, sum, values, weights}.
 *
 * Values and weights are [kernel height × width]; a value is null in the padding.
 */
export function products(input, kernel, conv, [row, column], filter) {
  const [height, width, channels] = input.shape;
  const [, , depth, filters] = kernel.shape;
  const [down, across] = [walk(conv, 0, height), walk(conv, 1, width)];
  const group = Math.floor(filter / (filters / conv.groups));
  return Array.from({ length: depth }, (_, index) => {
    const channel = group * depth + index;
    const part = { channel, sum: 0, values: [], weights: [] };
    for (let i = 0; i < down.kernel; i++) {
      for (let j = 0; j < across.kernel; j++) {
        const y = row * down.stride - down.before + i * down.dilation;
        const x = column * across.stride - across.before + j * across.dilation;
        const inside = y >= 0 && y < height && x >= 0 && x < width;
        const value = inside ? input.data[(y * width + x) * channels + channel] : null;
        const weight = kernel.data[((i * across.kernel + j) * depth + index) * filters + filter];
        part.values.push(value);
        part.weights.push(weight);
        part.sum += (value ?? 0) * weight;
      }
    }
    return part;
  });
}

/** Of each channel what batch normalisation multiplies by, and what it adds. */
export function normalization(weights, name) {
  const [gamma, beta, mean, variance] = ["gamma", "beta", "moving_mean", "moving_variance"].map((part) => weights[`${name}/${part}`].data);
  const scale = gamma.map((one, channel) => one / Math.sqrt(variance[channel] + NORMALIZATION_EPSILON));
  return { scale, offset: beta.map((one, channel) => one - mean[channel] * scale[channel]) };
}

const normalize = (data, { scale, offset }) =>
  data.map((x, index) => x * scale[index % scale.length] + offset[index % scale.length]);

function pool({ shape: [, width, channels], data }, window, isMax, [rows, columns]) {
  const pooled = new Float32Array(rows * columns * channels).fill(isMax ? -Infinity : 0);
  for (let y = 0; y < rows * window[0]; y++) {
    for (let x = 0; x < columns * window[1]; x++) {
      const target = (Math.floor(y / window[0]) * columns + Math.floor(x / window[1])) * channels;
      for (let channel = 0; channel < channels; channel++) {
        const value = data[(y * width + x) * channels + channel];
        const before = pooled[target + channel];
        pooled[target + channel] = isMax ? Math.max(before, value) : before + value / (window[0] * window[1]);
      }
    }
  }
  return pooled;
}

function multiply(inputs, kernel, bias) {
  const units = kernel.shape[1];
  const data = Float32Array.from(bias.data);
  inputs.forEach((value, index) => {
    if (value === 0) return;
    for (let unit = 0; unit < units; unit++) data[unit] += value * kernel.data[index * units + unit];
  });
  return data;
}

/** How much less probable class `answer` is with a grey square over the image, by where its middle lies.
 *
 * A generator, so that a page stays awake: yields how far it is (0..1), returns {rows, columns, step, data}.
 */
export function* occlusion(network, image, answer) {
  const [height, width, channels] = image.shape;
  const side = Math.max(1, Math.round(PATCH * Math.min(height, width)));
  const step = Math.max(1, Math.floor(side / 2));
  const [rows, columns] = [Math.ceil(height / step), Math.ceil(width / step)];
  const before = probabilities(network, image)[answer];
  const data = new Float32Array(rows * columns);
  for (let place = 0; place < data.length; place++) {
    const top = Math.floor(place / columns) * step - Math.floor((side - step) / 2);
    const left = (place % columns) * step - Math.floor((side - step) / 2);
    const hidden = image.data.slice();
    for (let y = Math.max(top, 0); y < Math.min(top + side, height); y++) {
      hidden.fill(GREY, (y * width + Math.max(left, 0)) * channels, (y * width + Math.min(left + side, width)) * channels);
    }
    data[place] = before - probabilities(network, { shape: image.shape, data: hidden })[answer];
    yield (place + 1) / data.length;
  }
  return { rows, columns, data, side };
}
