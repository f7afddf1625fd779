// How weights begin (Keras's initializers), and what regularizers and constraints do to them.
// Kernels are [height, width, channels of a group, filters], flat.

const EPSILON = 1e-7; // Keras's

/** Random numbers in 0..1, the same for the same seed (mulberry32). */
export function uniform(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

const normal = (random) => () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

const BY_VARIANCE = { glorot: [1, "fan_avg"], he: [2, "fan_in"], lecun: [1, "fan_in"] };

/** From which numbers an initializer, a name or {name, its arguments}, draws for weights of this shape: {kind, middle, size}.
 *
 * `size` is the bound of a uniform distribution, or a normal one's deviation.
 */
export function distribution(initializer, shape) {
  const { name, ...given } = initializer.name ? initializer : { name: initializer };
  const { value = Number(name === "ones"), mean = 0, stddev = 0.05, minval = -0.05, maxval = 0.05, gain = 1 } = given;
  // Keras's fans: of a vector both are its length.
  const field = shape.slice(0, -2).reduce((one, other) => one * other, 1);
  const [inputs, outputs] = shape.length === 1 ? [shape[0], shape[0]] : [field * shape.at(-2), field * shape.at(-1)];
  switch (name) {
    case "zeros":
    case "ones":
    case "constant":
      return { kind: "constant", middle: value, size: 1 };
    case "random_uniform":
      return { kind: "uniform", middle: (minval + maxval) / 2, size: (maxval - minval) / 2 };
    case "random_normal":
    case "truncated_normal":
      return { kind: name === "random_normal" ? "normal" : "truncated", middle: mean, size: stddev };
    case "orthogonal":
      return { kind: "orthogonal", middle: 0, size: gain / Math.sqrt(Math.max(field * shape.at(-2), shape.at(-1))) };
  }
  const [family, shaped] = name.split("_");
  const [scale, mode] = BY_VARIANCE[family] ?? [given.scale ?? 1, given.mode ?? "fan_in"];
  const spread = family === "variance" ? given.distribution ?? "truncated_normal" : shaped;
  const variance = scale / { fan_in: inputs, fan_out: outputs, fan_avg: (inputs + outputs) / 2 }[mode];
  if (spread === "uniform") return { kind: "uniform", middle: 0, size: Math.sqrt(3 * variance) };
  if (spread === "untruncated_normal") return { kind: "normal", middle: 0, size: Math.sqrt(variance) };
  // What cutting at two deviations takes away is given back.
  return { kind: "truncated", middle: 0, size: Math.sqrt(variance) / 0.87962566103423978 };
}

/** `count` weights as an initializer draws them. Orthogonal ones are drawn as what they are nearly: normal. */
export function drawn({ kind, middle, size }, count, seed = 0) {
  const random = uniform(seed);
  const gauss = normal(random);
  const draw = {
    constant: () => 0,
    uniform: () => 2 * random() - 1,
    normal: gauss,
    orthogonal: gauss,
    truncated: () => {
      let value = gauss();
      while (Math.abs(value) > 2) value = gauss();
      return value;
    },
  }[kind];
  return Float32Array.from({ length: count }, () => middle + size * draw());
}

/** The weights after a constraint of Keras (RadialConstraint: pipeline/network/build.py), as after each step. */
export function constrained(weights, shape, constraint) {
  if (constraint === null) return weights;
  if (constraint.name === "NonNeg") return weights.map((x) => Math.max(x, 0));
  if (constraint.name === "RadialConstraint") return radial(weights, shape);
  const groups = keys(shape, constraint.axis);
  const squares = sums(weights.map((x) => x * x), groups);
  return weights.map((x, index) => {
    const norm = Math.sqrt(squares(index));
    return (x * wanted(norm, constraint)) / (EPSILON + norm);
  });
}

/** The sum of the numbers of a group: index → that of its group, where `group` tells index → group. */
function sums(numbers, group) {
  const found = new Map();
  numbers.forEach((x, index) => found.set(group(index), (found.get(group(index)) ?? 0) + x));
  return (index) => found.get(group(index));
}

function wanted(norm, { name, min_value: least = 0, max_value: most, rate = 1 }) {
  if (name === "UnitNorm") return 1;
  return rate * Math.min(Math.max(norm, least), most) + (1 - rate) * norm;
}

/** Which weights share a norm: those that differ along `axes` only. Index → a number for each group. */
function keys(shape, axes) {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((one, other) => one * other, 1));
  return (index) =>
    strides.reduce((key, stride, axis) => key + (axes.includes(axis) ? 0 : (Math.floor(index / stride) % shape[axis]) * stride), 0);
}

function radial(weights, [height, width, inputs, outputs]) {
  const each = inputs * outputs;
  const ring = (index) => {
    const tap = Math.floor(index / each);
    const [row, column] = [Math.floor(tap / width), tap % width];
    const far = Math.max(Math.abs(row - (height - 1) / 2), Math.abs(column - (width - 1) / 2));
    return far * each + (index % each) / 2;
  };
  const [all, count] = [sums(weights, ring), sums(weights.map(() => 1), ring)];
  return weights.map((_, index) => all(index) / count(index));
}

/** What a regularizer alone makes of a weight in each of `steps` steps of plain gradient descent. */
export function shrunk(weight, regularizer, rate, steps) {
  const { l1 = 0, l2 = 0 } = regularizer ?? {};
  const path = [weight];
  for (let step = 1; step < steps; step++) {
    const last = path.at(-1) * (1 - 2 * rate * l2);
    path.push(Math.sign(last) * Math.max(Math.abs(last) - rate * l1, 0));
  }
  return path;
}
