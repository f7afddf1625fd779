// What a network computes, layer by layer, channels last: {shape: [height, width, channels] or [features], data}.
// A test holds it against Keras on 100 test images and on networks drawn at random.

import { walk } from "./arithmetic.js";

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

/** `data` after the activation `name`, in which each `channels` numbers are one place; it is changed itself. */
export function activate(data, name, channels) {
  const [alone, together] = [ACTIVATIONS[name], OF_ALL_CHANNELS[name]];
  for (let index = 0; alone && index < data.length; index++) data[index] = alone(data[index]);
  for (let start = 0; together && start < data.length; start += channels) {
    data.set(together(data.subarray(start, start + channels)), start);
  }
  return data;
}

/** What leaves each layer for an image {shape, data} in 0..1: tensors in the order of `network.layers`. */
export function forward(network, image) {
  let tensor = image;
  return network.layers.map((layer) => (tensor = { shape: layer.output, data: apply(layer, tensor, network.weights) }));
}

/** One probability a class. */
export const probabilities = (network, image) => Array.from(softmax(forward(network, image).at(-1).data));

function apply({ name, kind, output, window, activation }, input, weights) {
  const of = (part) => weights[`${name}/${part}`];
  switch (kind) {
    case "conv2d":
      return activate(convolve(input, of("kernel"), of("bias"), window), activation, output[2]);
    case "dense":
      return activate(multiply(input.data, of("kernel"), of("bias")), activation, output[0]);
    case "batch_normalization":
      return normalize(input.data, normalization(weights, name));
    case "activation":
      return activate(input.data.slice(), activation, output.at(-1));
    case "flatten":
    case "dropout":
      return input.data;
    default:
      return pool(input, window, kind.includes("max"));
  }
}

/** The pixels under a window at each of its places: for each tap, row by row, y · width + x; null in the padding. */
export function windows(window, [height, width]) {
  const along = (axis, size) => {
    const { kernel, stride, dilation, before, places } = walk(window, axis, size);
    return Array.from({ length: places }, (_, place) =>
      Array.from({ length: kernel }, (__, tap) => place * stride - before + tap * dilation).map((at) => (at >= 0 && at < size ? at : null)));
  };
  const [down, across] = [along(0, height), along(1, width)];
  const pixels = (rows, columns) => rows.flatMap((y) => columns.map((x) => (y === null || x === null ? null : y * width + x)));
  return down.flatMap((rows) => across.map((columns) => pixels(rows, columns)));
}

/** Sums over windows: kernel [height, width, channels of a group, filters] → numbers [rows × columns × filters]. */
export function convolve(input, { shape: [, , depth, filters], data: weights }, bias, conv) {
  const channels = input.shape[2];
  const each = filters / conv.groups;
  const places = windows(conv, input.shape);
  const data = new Float32Array(places.length * filters);
  for (const [place, taps] of places.entries()) {
    if (bias) data.set(bias.data, place * filters);
    for (const [tap, pixel] of taps.entries()) {
      if (pixel === null) continue;
      for (let channel = 0; channel < channels; channel++) {
        const value = input.data[pixel * channels + channel];
        if (value === 0) continue;
        const first = Math.floor(channel / depth) * each;
        const weight = (tap * depth + (channel % depth)) * filters + first;
        const target = place * filters + first;
        for (let filter = 0; filter < each; filter++) data[target + filter] += value * weights[weight + filter];
      }
    }
  }
  return data;
}

/** The products that a place of a convolution sums: for each channel of its group {channel, sum, values, weights}.
 *
 * Values and weights are [kernel height × width]; a value is null in the padding.
 */
export function products(input, kernel, conv, place, filter) {
  const channels = input.shape[2];
  const [, , depth, filters] = kernel.shape;
  const group = Math.floor(filter / (filters / conv.groups));
  const taps = windows(conv, input.shape)[place];
  return Array.from({ length: depth }, (_, index) => {
    const channel = group * depth + index;
    const values = taps.map((pixel) => (pixel === null ? null : input.data[pixel * channels + channel]));
    const weights = taps.map((__, tap) => kernel.data[(tap * depth + index) * filters + filter]);
    return { channel, values, weights, sum: values.reduce((sum, value, tap) => sum + value * weights[tap], 0) };
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

/** The largest number of each window, or the mean of those that are no padding. */
function pool({ shape, data }, window, isMax) {
  const channels = shape[2];
  const places = windows(window, shape).map((taps) => taps.filter((pixel) => pixel !== null));
  const pooled = new Float32Array(places.length * channels).fill(isMax ? -Infinity : 0);
  places.forEach((pixels, place) => {
    for (const pixel of pixels) {
      for (let channel = 0; channel < channels; channel++) {
        const [target, value] = [place * channels + channel, data[pixel * channels + channel]];
        pooled[target] = isMax ? Math.max(pooled[target], value) : pooled[target] + value / pixels.length;
      }
    }
  });
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
