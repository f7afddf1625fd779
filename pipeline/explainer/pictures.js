// One's own pictures: drawn, dropped, from a file or from the camera; and what the network sees of them.

import { ARROWS, byId, element } from "./drawing.js";

const BRUSH = 11; // pixels of the sheet that is drawn on
const STEP = 5; // of an arrow key
const NEAR = 20; // of 0 to 255, by which pixels may differ from a background that is one colour
const EVEN = 0.9; // share of the border that is near its median where a picture has such a background
const LONGEST = 4096; // pixels of a side: a phone's canvas holds no more

/** Bytes from base64 as an image tensor in 0..1. */
export const fromBytes = (base64, shape) => ({
  shape,
  data: Float32Array.from(atob(base64), (character) => character.charCodeAt(0) / 255),
});

const sizeOf = (source) => [source.videoWidth ?? source.width, source.videoHeight ?? source.height];

/** What can be drawn on a canvas, of a file: its colours as they are written, as Pillow reads them. */
export const bitmap = (file) => createImageBitmap(file, { colorSpaceConversion: "none" });

/** A picture as {width, height, data}, four bytes a pixel: what is transparent lies on white. */
function read(source) {
  const share = Math.min(1, LONGEST / Math.max(...sizeOf(source)));
  const [width, height] = sizeOf(source).map((side) => Math.max(1, Math.round(share * side)));
  const context = element("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/** The part [left, top, width, height] of a picture. */
function cropped(picture, [left, top, width, height]) {
  const data = new Uint8ClampedArray(4 * width * height);
  for (let y = 0; y < height; y++) {
    const first = 4 * ((top + y) * picture.width + left);
    data.set(picture.data.subarray(first, first + 4 * width), 4 * y * width);
  }
  return { width, height, data };
}

/** Keys's cubic, by which Pillow weighs a pixel so far away. */
function cubic(x) {
  const far = Math.abs(x);
  if (far < 1) return (1.5 * far - 2.5) * far * far + 1;
  return far < 2 ? -0.5 * (((far - 5) * far + 8) * far - 4) : 0;
}

/** A picture whose width became `length`, lying on its side: rows are columns. */
function turned({ width, height, data }, length) {
  const scale = width / length;
  const spread = Math.max(scale, 1);
  const result = new Uint8ClampedArray(4 * length * height);
  for (let at = 0; at < length; at++) {
    const middle = (at + 0.5) * scale;
    const first = Math.max(Math.floor(middle - 2 * spread + 0.5), 0);
    const last = Math.min(Math.floor(middle + 2 * spread + 0.5), width);
    const weights = Array.from({ length: last - first }, (_, tap) => cubic((first + tap - middle + 0.5) / spread));
    const total = sum(weights);
    for (let line = 0; line < 4 * height; line++) {
      const [y, part] = [line >> 2, line & 3];
      let value = 0;
      for (let tap = 0; tap < weights.length; tap++) value += weights[tap] * data[4 * (y * width + first + tap) + part];
      result[4 * (at * height + y) + part] = value / total;
    }
  }
  return { width: height, height: length, data: result };
}

const sum = (numbers) => numbers.reduce((one, other) => one + other, 0);

const resized = (picture, width, height) => turned(turned(picture, width), height);

/** Of each pixel a number of 0 to 255: its grey as Pillow weighs it, or one of its colours. */
const greys = ({ data }) => Uint8Array.from({ length: data.length / 4 }, (_, pixel) =>
  (19595 * data[4 * pixel] + 38470 * data[4 * pixel + 1] + 7471 * data[4 * pixel + 2] + 0x8000) >> 16);
const colour = ({ data }, part) => Uint8Array.from({ length: data.length / 4 }, (_, pixel) => data[4 * pixel + part]);

/** The middle square of a picture as greys [side, side, 1]. */
export function greySquare(source, side) {
  const { width, height } = source = read(source);
  const least = Math.min(width, height);
  const square = cropped(source, [(width - least) >> 1, (height - least) >> 1, least, least]);
  return { shape: [side, side, 1], data: Float32Array.from(greys(resized(square, side, side)), (grey) => grey / 255) };
}

/** A picture as the network sees it, {shape, data, fitted}: the twin of pipeline/data/photo.py, which says how. */
export function fitPhoto(source, shape, isLight) {
  const [height, width, channels] = shape;
  let picture = read(source);
  const steps = [];
  if (picture.width !== width || picture.height !== height) {
    const background = [0, 1, 2].map((part) => median(border(colour(picture, part), picture)));
    const box = whatIsShown(greys(picture), picture);
    if (box) {
      picture = cropped(picture, box);
      steps.push("trimmed");
    }
    picture = framed(picture, width, height, background);
    steps.push("scaled");
    if ((sum(background) > 3 * 127) !== isLight) {
      picture.data.forEach((value, index) => (picture.data[index] = 255 - value));
      steps.push("inverted");
    }
  }
  const parts = channels === 1 ? [greys(picture)] : [0, 1, 2].map((part) => colour(picture, part));
  const data = Float32Array.from({ length: height * width * channels }, (_, index) => parts[index % channels][Math.floor(index / channels)] / 255);
  return { shape, data, fitted: steps.join(", ") || "as it is" };
}

/** The outermost numbers of a picture: those of its corners twice, once for each side. */
function border(numbers, { width, height }) {
  const rows = Array.from({ length: height }, (_, y) => [numbers[y * width], numbers[y * width + width - 1]]);
  return [...numbers.subarray(0, width), ...numbers.subarray((height - 1) * width), ...rows.flat()];
}

function median(numbers) {
  const sorted = [...numbers].sort((one, other) => one - other);
  return Math.floor((sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2);
}

/** The box [left, top, width, height] of what differs from an even background; null where there is nothing to cut. */
function whatIsShown(numbers, { width, height }) {
  const edge = border(numbers, { width, height });
  const background = median(edge);
  const isNear = (value) => Math.abs(value - background) <= NEAR;
  if (edge.filter(isNear).length / edge.length < EVEN) return null;
  let [left, top, right, bottom] = [width, height, 0, 0];
  numbers.forEach((value, index) => {
    if (isNear(value)) return;
    const [y, x] = [Math.floor(index / width), index % width];
    [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x + 1), Math.max(bottom, y + 1)];
  });
  const isAll = right - left === width && bottom - top === height;
  return right === 0 || isAll ? null : [left, top, right - left, bottom - top];
}

/** A picture as large as fits into a frame of a colour, in its middle. */
function framed(picture, width, height, background) {
  const share = Math.min(width / picture.width, height / picture.height);
  const [across, down] = [picture.width, picture.height].map((side) => Math.max(1, Math.floor(share * side + 0.5)));
  const small = resized(picture, across, down);
  const data = new Uint8ClampedArray(4 * width * height).map((_, index) => background[index % 4] ?? 255);
  const [left, top] = [(width - across) >> 1, (height - down) >> 1];
  for (let y = 0; y < down; y++) data.set(small.data.subarray(4 * y * across, 4 * (y + 1) * across), 4 * ((top + y) * width + left));
  return { width, height, data };
}

/** Ways to one's own picture, in the element `id`; `onpicture` gets what can be drawn on a canvas, again while it moves. */
export function pictureWays(id, onpicture) {
  const host = byId(id);
  host.append(byId("ways").content.cloneNode(true));
  const [draw, camera, clear] = ["draw", "camera", "clear"].map((way) => host.querySelector(`[data-way=${way}]`));
  const [file, pad, said] = [".file", ".pad", ".said"].map((part) => host.querySelector(part));
  const say = (text) => (said.textContent = text);
  const open = async (one) => {
    try {
      onpicture(await bitmap(one));
      say("");
    } catch {
      say(`${one.name}: is no picture that this browser can read.`);
    }
  };
  file.addEventListener("change", () => file.files[0] && open(file.files[0]));
  draw.addEventListener("click", () => {
    pad.hidden = !pad.hidden;
    draw.setAttribute("aria-expanded", String(!pad.hidden));
    if (!pad.hidden) pad.querySelector("canvas").focus();
  });
  startSheet(pad.querySelector("canvas"), clear, onpicture);
  startCamera(camera, onpicture, say);
  const area = host.closest("[data-drop]");
  area.addEventListener("dragover", (event) => (event.preventDefault(), area.classList.add("over")));
  area.addEventListener("dragleave", () => area.classList.remove("over"));
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    area.classList.remove("over");
    if (event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
  });
}

/** A black sheet: drawn on by pointer, or with arrow keys and space. */
function startSheet(canvas, clear, onpicture) {
  const { width: side } = canvas;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const pen = { x: side / 2, y: side / 2, isDown: false };
  const move = (x, y) => {
    if (pen.isDown) {
      Object.assign(context, { strokeStyle: "white", lineWidth: BRUSH, lineCap: "round" });
      context.beginPath();
      context.moveTo(pen.x, pen.y);
      context.lineTo(x + 0.01, y);
      context.stroke();
      onpicture(canvas);
    }
    Object.assign(pen, { x, y });
  };
  const at = ({ offsetX, offsetY }) => [offsetX, offsetY].map((one) => (one * side) / canvas.clientWidth);
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    [pen.x, pen.y] = at(event);
    pen.isDown = true;
    move(pen.x, pen.y);
  });
  canvas.addEventListener("pointermove", (event) => pen.isDown && move(...at(event)));
  for (const end of ["pointerup", "pointercancel", "blur"]) canvas.addEventListener(end, () => (pen.isDown = false));
  canvas.addEventListener("keydown", (event) => {
    const [down, across] = ARROWS[event.key] ?? [0, 0];
    if (event.key === " ") pen.isDown = !pen.isDown;
    else if (!ARROWS[event.key]) return;
    event.preventDefault();
    move(...[pen.x + STEP * across, pen.y + STEP * down].map((one) => Math.min(Math.max(one, 0), side)));
  });
  clear.addEventListener("click", () => {
    context.fillRect(0, 0, side, side);
    onpicture(canvas);
  });
  context.fillRect(0, 0, side, side);
}

/** The camera, where the browser has one to give: what it sees is shown as it moves, until it is stopped. */
function startCamera(button, onpicture, say) {
  button.hidden = !navigator.mediaDevices?.getUserMedia;
  const video = element("video", { muted: true, playsinline: true });
  let stream = null;
  const show = () => {
    if (stream === null) return;
    if (video.videoWidth) onpicture(video);
    requestAnimationFrame(show);
  };
  button.addEventListener("click", async () => {
    if (stream !== null) {
      stream.getTracks().forEach((track) => track.stop());
      stream = null;
      button.textContent = "Camera";
      return;
    }
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: 320, height: 320 } });
      video.srcObject = stream;
      await video.play();
      button.textContent = "Stop the camera";
      show();
    } catch (error) {
      say(`The browser gives no camera (${error.name}).`);
    }
  });
}
