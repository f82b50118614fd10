// The machine's picture on a canvas: decode in parallel, draw in order, fit the window, find the pixel under a point.
// createImageBitmap, and not ImageDecoder: a whole 1920×1080 in four stripes takes 12 ms against 33 (Chromium 156, two
// cores, software drawing); ImageDecoder is 1 ms quicker with one small picture, and Safari has none.

import { Video } from "./video.js";
import { View } from "./view.js";

export class Picture {
  #queue = []; // Screens, Pictures and Moves that are not on the canvas yet, in order of arrival
  #size; // the last Screen's
  #context;
  #video = new Video();

  /**
   * `drawn` is called with how many pictures are done with, and how many of them were drawn. Each that came counts once, in
   * order, also one that a newer one covers and one that could not be decoded; for the latter `broken` is called too.
   * `laidOut` is called with how many CSS pixels wide one of the machine's is, each time that may have changed.
   */
  constructor(canvas, stage, { drawn, broken, videoBroken, laidOut }) {
    Object.assign(this, { canvas, stage, drawn, broken, videoBroken });
    this.view = new View(canvas, stage, laidOut);
    this.#context = canvas.getContext("2d", { alpha: false });
    this.#size = { width: canvas.width, height: canvas.height };
    new ResizeObserver(() => this.view.layout()).observe(stage);
    this.#watchPixelRatio();
  }

  /** Forget what was not drawn yet; a new connection begins. */
  reset() {
    for (const job of this.#queue.splice(0)) job.forgotten = true;
    this.#video.reset();
  }

  resize(width, height) {
    this.#size = { width, height };
    this.#queue.push({ screen: this.#size, done: true });
    this.#draw();
  }

  add(x, y, image) {
    this.#put(x, y, createImageBitmap(new Blob([image])), this.broken);
  }

  /** Add a frame of the film. */
  addVideo(command) {
    this.#put(command.x, command.y, this.#video.decode(command), this.videoBroken);
  }

  /** A part of the picture, as all before leaves it, is to be seen at another place too. */
  move(command) {
    this.#queue.push({ move: command, done: true });
    this.#draw();
  }

  #put(x, y, decoding, broken) {
    const job = { x, y, within: this.#size };
    this.#queue.push(job);
    decoding.then(
      (bitmap) => this.#decoded(job, bitmap),
      () => this.#failed(job, broken),
    );
  }

  /** The machine's pixel under a point of the window; the nearest one if it is outside. */
  pixelAt(clientX, clientY) {
    const { width, height } = this.canvas;
    const box = this.canvas.getBoundingClientRect();
    const along = (offset, length, count) => Math.min(Math.max(Math.floor((offset / length) * count), 0), count - 1);
    return [along(clientX - box.left, box.width, width), along(clientY - box.top, box.height, height)];
  }

  #decoded(job, bitmap) {
    if (job.forgotten || job.done) return bitmap.close();
    const { displayWidth: width = bitmap.width, displayHeight: height = bitmap.height } = bitmap; // a VideoFrame's, a picture's
    Object.assign(job, { bitmap, width, height, done: true });
    this.#skipWhatIsUnder(job);
    return this.#draw();
  }

  #failed(job, broken) {
    if (job.forgotten || job.done) return;
    job.done = true;
    broken();
    this.#draw();
  }

  /** Older pictures that this one covers need not be waited for, nor drawn, unless a move between takes them elsewhere. */
  #skipWhatIsUnder(job) {
    for (let at = this.#queue.indexOf(job) - 1; at >= 0; at -= 1) {
      if (this.#queue[at].screen || this.#queue[at].move) return;
      const older = this.#queue[at];
      if (!covers(job, older)) continue;
      older.done = true;
      older.bitmap?.close();
      older.bitmap = undefined;
    }
  }

  #draw() {
    let count = 0;
    let shown = 0;
    while (this.#queue[0]?.done) {
      const { screen, move, bitmap, x, y } = this.#queue.shift();
      if (screen) this.#resize(screen);
      if (move) this.#move(move);
      if (screen || move) continue;
      count += 1;
      if (!bitmap) continue;
      shown += 1;
      this.#context.drawImage(bitmap, x, y);
      bitmap.close();
    }
    if (count) this.drawn(count, shown);
  }

  #move({ x, y, width, height, toX, toY }) {
    // From itself, a canvas draws as if it were another: the two places may overlap.
    this.#context.drawImage(this.canvas, x, y, width, height, toX, toY, width, height);
  }

  #resize({ width, height }) {
    // Setting the size clears the canvas, so a Screen that repeats itself must not.
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    this.view.layout();
  }

  #watchPixelRatio() {
    const again = () => {
      this.view.layout();
      this.#watchPixelRatio();
    };
    matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`).addEventListener("change", again, { once: true });
  }
}

/** Whether a decoded picture hides an older one, which before it is decoded may reach to the end of the screen. */
function covers({ x, y, width, height }, older) {
  const right = older.bitmap ? older.x + older.width : Math.max(older.within.width, older.x + 1);
  const bottom = older.bitmap ? older.y + older.height : Math.max(older.within.height, older.y + 1);
  return x <= older.x && y <= older.y && x + width >= right && y + height >= bottom;
}
