// Pointer lock, for a machine whose mouse takes only movements: its pointer and the browser's pointer are then at different
// places. While the pointer is locked, the browser hides its own, and movements do not stop at an edge of the window.

const LOCKED = `The mouse is locked to the ${document.body.dataset.noun}. Press Esc to unlock it`;
const LOCKED_KEYS = `The mouse is locked to the ${document.body.dataset.noun}. Hold Esc to unlock it`; // a short Esc is the machine's
const TOO_SOON = "After Esc, the browser locks the mouse again only after a moment. Try again.";

export class Capture {
  #relative = false;

  /** `button` asks for it; `hint` is where the page says how to leave; `holds()` tells whether Esc must be held for that. */
  constructor(canvas, button, hint, { say, focus, holds }) {
    Object.assign(this, { canvas, button, hint, say, focus, holds });
    this.usual = hint.textContent;
    button.onclick = () => this.#ask();
    document.addEventListener("pointerlockchange", () => this.#changed());
  }

  get locked() {
    return document.pointerLockElement === this.canvas;
  }

  /** What the machine's mouse is. */
  offer(relative) {
    this.#relative = relative && "requestPointerLock" in this.canvas;
    this.button.hidden = !this.#relative;
    if (!this.#relative) this.leave();
  }

  /** Give the mouse back. */
  leave() {
    if (this.locked) document.exitPointerLock();
  }

  async #ask() {
    if (this.locked) return this.leave();
    this.focus();
    try {
      // The machine has an acceleration of its own; not every system can do without this one's.
      await this.#request({ unadjustedMovement: true }).catch((error) => {
        if (error.name !== "NotSupportedError") throw error;
        return this.#request();
      });
    } catch (error) {
      this.say(error.name === "SecurityError" ? TOO_SOON : "The browser does not allow locking the mouse here.");
    }
    return undefined;
  }

  // Older browsers return nothing.
  async #request(options) {
    return this.canvas.requestPointerLock(options);
  }

  #changed() {
    this.button.setAttribute("aria-pressed", this.locked);
    document.body.toggleAttribute("data-locked", this.locked);
    const text = this.holds() ? LOCKED_KEYS : LOCKED;
    this.hint.textContent = this.locked ? text : this.usual;
    if (!this.locked) return;
    this.say(`${text}.`);
    this.focus();
  }
}
