// One's own pictures: drawn, dropped, from a file or from the camera; and what the network sees of them.

import { ARROWS, byId, element } from "./drawing.js";

const BRUSH = 11; // pixels of the sheet that is drawn on
const STEP = 5; // of an arrow key
const LIGHT = 0.5; // a background lighter than this is turned dark, as the images of the training are
const EDGE = 0.12; // what differs from the background by less is background

/** Bytes from base64 as an image tensor in 0..1. */
export const fromBytes = (base64, shape) => ({
  shape,
  data: Float32Array.from(atob(base64), (character) => character.charCodeAt(0) / 255),
});

const sizeOf = (source) => [source.videoWidth ?? source.width, source.videoHeight ?? source.height];

/** The pixels [height, width, 3] in 0..1 of a part of a picture, made as small as that. */
function pixels(source, [left, top, across, down], [width, height]) {
  const canvas = element("canvas", { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white"; // what is transparent lies on paper
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(source, left, top, across, down, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  return Float32Array.from({ length: width * height * 3 }, (_, index) => data[Math.floor(index / 3) * 4 + (index % 3)] / 255);
}

const brightness = (rgb) =>
  Float32Array.from({ length: rgb.length / 3 }, (_, pixel) => 0.299 * rgb[3 * pixel] + 0.587 * rgb[3 * pixel + 1] + 0.114 * rgb[3 * pixel + 2]);

/** The middle square of a picture as greys [side, side, 1]. */
export function greySquare(source, side) {
  const [width, height] = sizeOf(source);
  const least = Math.min(width, height);
  return { shape: [side, side, 1], data: brightness(pixels(source, [(width - least) / 2, (height - least) / 2, least, least], [side, side])) };
}

/** A picture as the network sees it: its object on black in the middle, the longer side filling the image.
 *
 * So the images of Fashion-MNIST were made (Xiao, Rasul and Vollgraf, 2017). An image in colours is only made smaller.
 */
export function fitted(source, shape) {
  const [height, width, channels] = shape;
  const whole = [0, 0, ...sizeOf(source)];
  if (channels === 3) return { shape, data: pixels(source, whole, [width, height]) };
  const fine = resized(whole.slice(2), 4 * Math.min(height, width));
  const sheet = element("canvas", { width: fine[0], height: fine[1] });
  const onBlack = raised(brightness(pixels(source, whole, fine)), fine[0]);
  const image = sheet.getContext("2d").createImageData(...fine);
  onBlack.forEach((value, index) => image.data.set([255 * value, 255 * value, 255 * value, 255], 4 * index));
  sheet.getContext("2d").putImageData(image, 0, 0);
  const box = bounds(onBlack, fine);
  const size = resized(box.slice(2), Math.min(height, width));
  const small = brightness(pixels(sheet, box, size));
  const data = new Float32Array(height * width * channels);
  const [left, top] = [Math.floor((width - size[0]) / 2), Math.floor((height - size[1]) / 2)];
  small.forEach((value, index) => {
    const place = (top + Math.floor(index / size[0])) * width + left + (index % size[0]);
    data.fill(value, place * channels, (place + 1) * channels);
  });
  return { shape, data };
}

/** A size in the same proportion whose longer side is `longest`. */
const resized = (size, longest) => size.map((one) => Math.max(1, Math.round((longest * one) / Math.max(...size))));

/** Greys as brightness above their background, which is what most of the border is; a light one is turned dark. */
function raised(greys, width) {
  const height = greys.length / width;
  const isBorder = (_, index) => [0, width - 1].includes(index % width) || [0, height - 1].includes(Math.floor(index / width));
  const border = greys.filter(isBorder).sort();
  const background = border[Math.floor(border.length / 2)];
  const isLight = background > LIGHT;
  const floor = isLight ? 1 - background : background;
  return greys.map((value) => Math.max((isLight ? 1 - value : value) - floor, 0) / (1 - floor));
}

/** The box [left, top, width, height] of what differs from a black background; all where nothing does. */
function bounds(values, [width, height]) {
  let [left, top, right, bottom] = [width, height, 0, 0];
  values.forEach((value, index) => {
    if (value < EDGE) return;
    const [y, x] = [Math.floor(index / width), index % width];
    [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x + 1), Math.max(bottom, y + 1)];
  });
  return right ? [left, top, right - left, bottom - top] : [0, 0, width, height];
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
      onpicture(await createImageBitmap(one));
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
