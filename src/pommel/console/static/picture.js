// The machine's picture on a canvas: decode side by side, draw in order, fit the window, find the pixel under a point.

export class Picture {
  #queue = [];
  #context;
  #mode = "fit";

  /** `drawn` is called after pictures were drawn, with how many; `broken` when one could not be decoded. */
  constructor(canvas, stage, { drawn, broken }) {
    Object.assign(this, { canvas, stage, drawn, broken });
    this.#context = canvas.getContext("2d", { alpha: false });
    new ResizeObserver(() => this.layout()).observe(stage);
    this.#watchPixelRatio();
  }

  /** Forget what was not drawn yet; a new connection begins. */
  reset() {
    for (const job of this.#queue.splice(0)) job.dropped = true;
  }

  resize(width, height) {
    this.#queue.push({ ready: true, width, height });
    this.#draw();
  }

  add(x, y, image) {
    const job = { ready: false, x, y };
    this.#queue.push(job);
    createImageBitmap(new Blob([image]))
      .then((bitmap) => (job.bitmap = bitmap), () => this.broken())
      .finally(() => {
        job.ready = true;
        if (job.dropped) job.bitmap?.close();
        else this.#draw();
      });
  }

  get mode() {
    return this.#mode;
  }

  set mode(mode) {
    this.#mode = mode;
    this.stage.dataset.mode = mode;
    this.layout();
  }

  /** The machine's pixel under a point of the window; the nearest one if it is outside. */
  pixelAt(clientX, clientY) {
    const { width, height } = this.canvas;
    const box = this.canvas.getBoundingClientRect();
    const along = (offset, length, count) => Math.min(Math.max(Math.floor((offset / length) * count), 0), count - 1);
    return [along(clientX - box.left, box.width, width), along(clientY - box.top, box.height, height)];
  }

  layout() {
    const { width, height } = this.canvas;
    const { clientWidth, clientHeight } = this.stage;
    const fit = Math.min(clientWidth / width, clientHeight / height);
    // "Actual" is one pixel of the machine on one of this screen's own, whatever the browser's zoom.
    const scale = this.#mode === "fit" ? fit : 1 / window.devicePixelRatio;
    this.canvas.style.width = `${width * scale}px`;
    this.canvas.style.height = `${height * scale}px`;
  }

  #draw() {
    let pictures = 0;
    while (this.#queue[0]?.ready) {
      const job = this.#queue.shift();
      if (job.width) this.#resize(job);
      if (!job.bitmap) continue;
      this.#context.drawImage(job.bitmap, job.x, job.y);
      job.bitmap.close();
      pictures += 1;
    }
    if (pictures) this.drawn(pictures);
  }

  #resize({ width, height }) {
    // Setting the size clears the canvas, so a Screen that repeats itself must not.
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    this.layout();
  }

  #watchPixelRatio() {
    const again = () => {
      this.layout();
      this.#watchPixelRatio();
    };
    matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`).addEventListener("change", again, { once: true });
  }
}
