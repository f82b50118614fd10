// The size of the picture and its visible part: fit, fill, actual pixels, and any zoom from there. The stage scrolls a
// picture that does not fit. "A point" has clientX and clientY, "a spot" is a place in the picture, in its pixels.

const MOST = 4; // CSS pixels for one of the machine's: a close button is then as wide as a finger
const SNAP = 0.06; // a pinch that ends as near to the mode's own size as this means that
const touched = matchMedia("(pointer: coarse)");

export class View {
  covered = 0; // CSS pixels that a soft keyboard took from the stage's height: the picture keeps its size
  #mode = "fit";
  #zoom = null; // CSS pixels for one of the machine's; null: the mode says
  #interest = null; // the spot that the person last pointed at

  /** `laidOut` is called with how many CSS pixels wide one of the machine's is, each time that may have changed. */
  constructor(canvas, stage, laidOut) {
    Object.assign(this, { canvas, stage, laidOut });
  }

  /** "auto" is fit, and fill where a touched screen is higher than wide: fitted, the picture would be a narrow strip. */
  get mode() {
    return this.#mode;
  }

  set mode(mode) {
    this.#mode = mode;
    this.#zoom = null;
    this.layout();
  }

  /** Which of fit, fill and actual the mode is now. */
  get shape() {
    if (this.#mode !== "auto") return this.#mode;
    const { width, height } = this.#room();
    return touched.matches && height > width ? "fill" : "fit";
  }

  /** The shapes that make a difference to this person: where nothing is touched, scroll bars do what fill is for. */
  static get shapes() {
    return touched.matches ? ["fit", "fill", "actual"] : ["fit", "actual"];
  }

  get zoomed() {
    return this.#zoom !== null;
  }

  /** CSS pixels for one of the machine's. */
  get scale() {
    if (this.#zoom === null) return this.#scaleOf(this.shape);
    const least = Math.min(this.#scaleOf("fit"), this.#scaleOf(this.shape));
    return Math.min(Math.max(this.#zoom, least), Math.max(MOST, 2 * this.#scaleOf("fit")));
  }

  /** Whether there is more of the picture than the stage shows. */
  get overflows() {
    const { scrollWidth, clientWidth, scrollHeight, clientHeight } = this.stage;
    return scrollWidth > clientWidth || scrollHeight > clientHeight;
  }

  layout() {
    const { width, height } = this.canvas;
    const { scale, stage } = this;
    const middle = this.#middle();
    const was = this.overflows ? this.spotAt(middle) : this.#interest;
    stage.dataset.mode = this.shape;
    stage.toggleAttribute("data-zoomed", this.zoomed);
    this.canvas.style.width = `${width * scale}px`;
    this.canvas.style.height = `${height * scale}px`;
    if (was) this.put(was, this.#middle());
    this.laidOut(scale);
  }

  /** Zoom so that one of the machine's pixels is `scale` CSS pixels wide, and a spot is under a point. */
  zoom(scale, spot, point) {
    this.#zoom = scale;
    this.#zoom = this.scale; // within its limits
    this.layout();
    this.put(spot, point);
  }

  /** A pinch has ended. */
  settle() {
    if (this.#zoom === null || Math.abs(this.#zoom / this.#scaleOf(this.shape) - 1) > SNAP) return;
    this.#zoom = null;
    this.layout();
  }

  /** Scroll so that a spot is under a point, as far as there is picture. */
  put(spot, { clientX, clientY }) {
    const box = this.canvas.getBoundingClientRect();
    this.stage.scrollLeft += box.left + spot.x * (box.width / this.canvas.width) - clientX;
    this.stage.scrollTop += box.top + spot.y * (box.height / this.canvas.height) - clientY;
  }

  /** The spot under a point; outside the picture, where it would be. */
  spotAt({ clientX, clientY }) {
    const box = this.canvas.getBoundingClientRect();
    return {
      x: ((clientX - box.left) / box.width) * this.canvas.width,
      y: ((clientY - box.top) / box.height) * this.canvas.height,
    };
  }

  /** The person pointed there: it stays in sight when the stage shrinks. */
  pointedAt(point) {
    this.#interest = this.spotAt(point);
  }

  /** Scroll what the person last pointed at into the middle, if it is out of sight. */
  reveal() {
    if (!this.#interest) return;
    const box = this.canvas.getBoundingClientRect();
    const { left, top, right, bottom } = this.stage.getBoundingClientRect();
    const x = box.left + (this.#interest.x / this.canvas.width) * box.width;
    const y = box.top + (this.#interest.y / this.canvas.height) * box.height;
    if (x < left || x > right || y < top || y > bottom) this.put(this.#interest, this.#middle());
  }

  #room() {
    return { width: this.stage.clientWidth, height: this.stage.clientHeight + this.covered };
  }

  #middle() {
    const { left, top } = this.stage.getBoundingClientRect();
    return { clientX: left + this.stage.clientWidth / 2, clientY: top + this.stage.clientHeight / 2 };
  }

  #scaleOf(shape) {
    // "Actual" is one pixel of the machine on one of this screen's own, whatever the browser's zoom.
    if (shape === "actual") return 1 / window.devicePixelRatio;
    const { width, height } = this.#room();
    const [across, down] = [width / this.canvas.width, height / this.canvas.height];
    return shape === "fill" ? Math.max(across, down) : Math.min(across, down);
  }
}
