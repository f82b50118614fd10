// The pointer over the screen: the machine's own picture of it, as large as the screen is shown, or else its shape's CSS
// cursor. Knows no socket.

import { CURSORS } from "./codec.js";

const LARGEST = 128; // CSS pixels; browsers leave larger ones out (Chromium and Firefox alike)
const HIDDEN = "none";

export class Pointer {
  #shape = "default";
  #image = null; // what the machine's pointer looks like, on a canvas of its own; null: that is not known
  #hot = [0, 0];
  #scale = 1; // CSS pixels for one of the machine's
  #drawn = ""; // what the address stands for
  #address = "";
  #shown = "";

  /** `element` is what the pointer is over. */
  constructor(element) {
    this.element = element;
  }

  /** The machine's pointer has this shape (MouseCursor). */
  shape(number) {
    this.#shape = CURSORS[number];
    this.#show();
  }

  /** It looks like this (Pointer). */
  picture({ width, height, hotX, hotY, rgba }) {
    this.#image = width && height ? canvas(width, height) : null;
    this.#image?.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(rgba), width, height), 0, 0);
    this.#hot = [hotX, hotY];
    this.#drawn = "";
    this.#show();
  }

  /** Forget what it looks like; a new connection begins. */
  forget() {
    this.#image = null;
    this.#show();
  }

  /** One of the machine's pixels is `scale` CSS pixels wide now. */
  fit(scale) {
    this.#scale = scale;
    this.#show();
  }

  #show() {
    const cursor = this.#cursor();
    if (cursor !== this.#shown) this.element.style.cursor = this.#shown = cursor;
  }

  #cursor() {
    if (!this.#image || this.#shape === HIDDEN) return this.#shape;
    const density = supportsDensity ? window.devicePixelRatio : 1; // of this screen's pixels, to draw it as sharp as can be
    const [width, height] = this.#sides(density);
    if (Math.max(width, height) > LARGEST * density) return this.#shape;
    const [x, y] = [this.#along(0, width, density), this.#along(1, height, density)];
    const url = `url("${this.#addressOf(width, height)}")`;
    return `${density === 1 ? url : `image-set(${url} ${density}x)`} ${x} ${y}, ${this.#shape}`;
  }

  /** How many pixels of this screen it is wide and high. */
  #sides(density) {
    const { width, height } = this.#image;
    return [width, height].map((side) => Math.max(Math.round(side * this.#scale * density), 1));
  }

  /** Where the pixel is that it points with, in CSS pixels from the left or the top: its middle. */
  #along(axis, side, density) {
    const whole = axis ? this.#image.height : this.#image.width;
    const hot = Math.floor(((this.#hot[axis] + 0.5) * side) / whole / density);
    return Math.min(hot, Math.ceil(side / density) - 1);
  }

  #addressOf(width, height) {
    const wanted = `${width}×${height}`;
    if (this.#drawn !== wanted) {
      this.#address = resized(this.#image, width, height).toDataURL();
      this.#drawn = wanted;
    }
    return this.#address;
  }
}

/** Whether a cursor can say how many of its pixels make a CSS pixel. */
const supportsDensity = CSS.supports("cursor", 'image-set(url("data:,") 2x) 0 0, auto');

const canvas = (width, height) => Object.assign(document.createElement("canvas"), { width, height });

function resized(image, width, height) {
  if (image.width === width && image.height === height) return image;
  const made = canvas(width, height);
  const context = made.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  return made;
}
