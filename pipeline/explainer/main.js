// From the content inside the page to its three parts.

import { counted, layers, receptiveField, total } from "./arithmetic.js";
import { kerasLine, nested, overrides, startArguments } from "./arguments.js";
import { byId, percent } from "./drawing.js";
import { startInside } from "./inside.js";
import { activate, decoded, forward, occlusion, probabilities } from "./network.js";
import { bitmap, fitPhoto, fromBytes } from "./pictures.js";
import { startSliding } from "./sliding.js";
import { constrained, distribution, drawn } from "./weights.js";

/** A network that `forward` computes, of settings, an image's shape, the number of classes and encoded weights. */
function networkOf({ settings, image_shape: shape, classes, weights }) {
  const arrays = Object.fromEntries(Object.entries(weights).map(([name, one]) => [name, decoded(one)]));
  return { layers: layers(nested(settings), shape, classes.length), weights: arrays };
}

function showHead({ classes, dataset, scores, training, identity, pictures, image_shape: shape }, network) {
  byId("lede").textContent = `A network of ${counted(total(network.layers, "parameters"))} numbers, trained on ${dataset} to tell ${classes.length} classes apart. `
    + `It answers ${percent(scores.accuracy, 2)} of the ${scores.images} images rightly. All of it is in this file: nothing you show it leaves your device.`;
  const every = [...pictures.right, ...pictures.mistakes];
  const far = every.map((known) => {
    const own = probabilities(network, fromBytes(known.pixels, shape));
    return Math.max(...own.map((one, index) => Math.abs(one - known.probabilities[index])));
  });
  const precision = training.precision === "float32" ? "" : ` The network was scored in ${training.precision}, this page computes in float32.`;
  const most = Math.max(...far, 1e-6).toExponential(0).replace("-", "−");
  byId("agreement").textContent = `Run ${identity}. On the ${every.length} images of this page its probabilities are those of Keras to ${most}.${precision}`;
}

const content = JSON.parse(byId("content").textContent);
const network = networkOf(content);

/** For the console: the page's own arithmetic. */
globalThis.conv2d = {
  content, network, networkOf, layers, receptiveField, forward, probabilities, occlusion, activate, constrained, distribution, drawn, kerasLine, overrides, nested,
  bitmap, fitPhoto,
};

showHead(content, network);
startSliding({ content, network });
startArguments({ content });
startInside({ content, network });
