// Turns a wheel's events into steps: 120 steps are one notch, as browsers, Windows and Linux count. A part of a step is
// kept for the next event, so that the sum that is sent is the sum that was turned. No DOM except the event.

import { onMac } from "./keys.js";

export const NOTCH = 120;
const PIXELS_PER_NOTCH = 100;
const LINES_PER_NOTCH = 3;
const PIXELS_PER_SWIPED_NOTCH = 50; // what a notch moves in most programs: three lines
const NOTCHES_PER_PAGE = 3;
const MOST = 40 * NOTCH; // of one event; the machine's end takes no more (pommel.wire.mouse)
// A pinch on a touchpad comes as a turn with Ctrl that nobody holds, 100 pixels for e times the size (Chromium, Firefox).
// Programs zoom by a fifth or so with a notch.
const PINCHED_PER_NOTCH = 20;
const LINE = 1; // WheelEvent.deltaMode
const PAGE = 2;

/** How far an event turned, in steps: [up, right]. */
export function turned(event) {
  const { deltaMode, deltaX, deltaY, wheelDeltaX, wheelDeltaY, shiftKey } = event;
  // Browsers turn a wheel sideways while Shift is down; the machine gets the Shift and does so itself.
  const sideways = shiftKey && !deltaY && !isTouchpad(deltaX, -wheelDeltaX);
  if (sideways) return [-steps(deltaMode, deltaX, -wheelDeltaX), 0];
  return [-steps(deltaMode, deltaY, -wheelDeltaY), steps(deltaMode, deltaX, -wheelDeltaX)];
}

/** `native` is what the system counted, 120 a notch. */
function steps(mode, delta, native) {
  if (!delta) return 0;
  if (mode === PAGE) return delta * NOTCHES_PER_PAGE * NOTCH;
  const counted = native * delta > 0; // a made-up event may have the one and not the other
  // How many lines a notch is differs: Firefox has 6 on Linux, 2 sideways.
  if (mode === LINE) return counted ? native : (delta / LINES_PER_NOTCH) * NOTCH;
  const pixels = (delta / PIXELS_PER_NOTCH) * NOTCH;
  if (!counted || isTouchpad(delta, native)) return pixels;
  // A wheel with notches says so in whole ones, whatever number of pixels this system scrolls for them; a fine one says
  // parts of them. A touchpad's are made up: the lesser is the truer.
  return native % NOTCH === 0 || Math.abs(native) < Math.abs(pixels) ? native : pixels;
}

/** On a Mac a touchpad's native count is always three times its pixels, a whole notch now and then by chance. */
const isTouchpad = (delta, native) => onMac && native === 3 * delta;

/** Gives out whole units of `size`, and keeps what is less. */
class Rest {
  #rest = 0;

  constructor(size = 1) {
    this.size = size;
  }

  take(amount) {
    const all = this.#rest + (Number.isFinite(amount) ? Math.min(Math.max(amount, -MOST), MOST) : 0);
    const whole = Math.trunc(all / this.size);
    this.#rest = all - whole * this.size;
    return whole;
  }
}

export class Wheel {
  #up = new Rest();
  #right = new Rest();
  #notches = new Rest(NOTCH);
  #pinched = new Rest(PINCHED_PER_NOTCH);

  /** How far an event turned with what was kept, in whole steps: {up, right}. */
  take(event) {
    const [up, right] = turned(event);
    return { up: this.#up.take(up), right: this.#right.take(right) };
  }

  /** How far fingers turn it that move what is there by so many of the machine's pixels, in whole steps: {up, right}. */
  swiped(dx, dy) {
    const [up, right] = [dy, -dx].map((pixels) => (pixels / PIXELS_PER_SWIPED_NOTCH) * NOTCH);
    return { up: this.#up.take(up), right: this.#right.take(right) };
  }

  /** So many steps in whole notches, for who takes nothing less. */
  notches(steps) {
    const whole = Math.trunc(steps / NOTCH); // at once, whatever is kept: a real wheel is felt with each notch
    return whole + this.#notches.take(steps - whole * NOTCH);
  }

  /** How many notches of zoom a pinch makes, positive for larger. */
  pinch({ deltaY }) {
    return this.#pinched.take(-deltaY);
  }
}
