// Recognises the gestures of fingers on the stage: a state machine over pointer events. `act` does what a gesture means. A
// pen is handled as a mouse (`hands.js`), because it can hover, is exact to the pixel, and draws.
//
//   idle ──finger──► one ──up──► idle (tap; a second tap nearby counts at the first one's place)
//                     ├─ moves ──────────────► slide (pans what overflows, else moves the pointer)
//                     │    a tap just before: ► drag (double tap and move)
//                     ├─ rests ──────────────► held ──up──► idle (right click)
//                     │                         └─ moves ► drag (left button) ──up──► idle
//                     └─ second finger ──────► two ──up──► rest (right click)
//   slide ─ second finger ─────────────────────► ├─ both move alike ► scroll
//                                                ├─ apart, nearer ──► pinch
//                                                └─ third finger ───► three ──up──► rest (keyboard)
//   rest: the gesture is over, its fingers are not all up; nothing they do counts.

const SLOP = 10; // CSS pixels that a finger may tremble: Android has 8, iOS 10
const LONG_MS = 500; // iOS's long press; Android's is 400
const TAP_MS = 500; // two or three fingers that stay longer do not tap: they rest on the screen
const DOUBLE_MS = 350; // between two taps: Android has 300, iOS 350
const NEAR = 40; // CSS pixels between two taps that are meant for one place: about a fingertip
const FRESH_MS = 250; // a finger that slid no longer than this when a second comes was the first of two

export class Touch {
  #fingers = new Map(); // pointerId -> {from, at: points}
  #state = "idle";
  #since = 0; // when the first finger came, by the events' clock
  #tapped = { when: -Infinity, clientX: 0, clientY: 0 };
  #again = false; // this finger came right after a tap, and near it
  #timer = 0;
  #grip = null; // what the fingers hold of the picture: {spot}, of a pinch also {scale, spread}

  /**
   * Watch `stage`. Points have clientX and clientY. `act` has tap(point, button bits), hover(point), press(point, bits) that
   * presses or, with 0, lets go, held(point or null) to show that a long press counts, scroll(point, dx, dy) in CSS pixels
   * since the last, keyboard(); `view` is a View.
   */
  constructor(stage, view, act) {
    Object.assign(this, { stage, view, act });
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    stage.addEventListener("pointerup", (event) => this.#up(event));
    for (const type of ["pointercancel", "lostpointercapture"]) {
      stage.addEventListener(type, (event) => this.#fingers.has(event.pointerId) && this.#end(event));
    }
    // `touch-action: none` keeps Chromium from scrolling and not from taking a quick movement for one that coasts on: the next
    // tap, on whichever button, then stops that and is no click. Of touches that the page has taken it makes nothing.
    stage.addEventListener("touchmove", (event) => event.preventDefault(), { passive: false });
  }

  /** Forget the gesture under way; what it holds is let go. */
  cancel() {
    this.#enter("rest");
    if (this.#fingers.size === 0) this.#state = "idle";
  }

  #down(event) {
    if (event.pointerType !== "touch" || event.target.closest("button, a, input, select")) return;
    event.preventDefault(); // no mouse events are made of it, which would take the focus away
    this.stage.setPointerCapture(event.pointerId);
    this.#fingers.set(event.pointerId, { from: pointOf(event), at: pointOf(event) });
    const came = this.#fingers.size;
    if (this.#state === "idle" && came === 1) this.#begin(event);
    else if (came === 2 && (this.#state === "one" || this.#state === "slide")) this.#joined(event);
    else if (came === 3 && this.#state === "two") this.#enter("three");
    else if (this.#state !== "drag" && this.#state !== "pinch" && this.#state !== "scroll") this.#enter("rest");
  }

  #begin(event) {
    this.#since = event.timeStamp;
    this.#again = event.timeStamp - this.#tapped.when < DOUBLE_MS && distance(event, this.#tapped) < NEAR;
    this.#enter("one");
    this.#timer = setTimeout(() => this.#enter("held"), LONG_MS);
  }

  #joined(event) {
    // One that slides already leaves no tap of two; the other finger makes a pinch of it.
    if (this.#state === "slide" && event.timeStamp - this.#since > FRESH_MS) this.#since = -Infinity;
    for (const finger of this.#fingers.values()) finger.from = finger.at;
    this.#enter("two");
  }

  #move(event) {
    const finger = this.#fingers.get(event.pointerId);
    if (!finger) return;
    const before = this.#middle();
    finger.at = pointOf(event);
    const far = distance(finger.from, finger.at) > SLOP;
    if (far && this.#state === "one") this.#enter(this.#again ? "drag" : "slide");
    else if (far && this.#state === "held") this.#enter("drag");
    else if (far && this.#state === "two") this.#enter(this.#alike() ? "scroll" : "pinch");
    else if (far && this.#state === "three") this.#enter("rest");
    this.#goOn(before);
  }

  /** Whether two fingers moved the same way rather than apart or nearer. */
  #alike() {
    const [one, two] = [...this.#fingers.values()];
    const spread = Math.abs(distance(one.at, two.at) - distance(one.from, two.from));
    return spread < distance(middle(one.at, two.at), middle(one.from, two.from));
  }

  #goOn(before) {
    const [one, two] = [...this.#fingers.values()];
    if (this.#state === "drag") this.act.hover(one.at);
    else if (this.#state === "slide" && this.#grip) this.view.put(this.#grip.spot, one.at);
    else if (this.#state === "slide") this.act.hover(one.at);
    else if (this.#state === "scroll") {
      const now = this.#middle();
      this.act.scroll(this.#start(), now.clientX - before.clientX, now.clientY - before.clientY);
    } else if (this.#state === "pinch") {
      const { spot, scale, spread } = this.#grip;
      this.view.zoom((scale * distance(one.at, two.at)) / spread, spot, middle(one.at, two.at));
    }
  }

  #up(event) {
    if (!this.#fingers.has(event.pointerId)) return;
    const short = event.timeStamp - this.#since < TAP_MS;
    if (this.#state === "one") this.#tap(event);
    else if (this.#state === "held") this.act.tap(this.#first().from, 2);
    else if (this.#state === "two" && short) this.act.tap(this.#start(), 2);
    else if (this.#state === "three" && short) this.act.keyboard();
    this.#end(event);
  }

  #tap(event) {
    const place = this.#again ? this.#tapped : this.#first().from;
    this.act.tap(place, 1);
    // A third tap is the first of another two, or a triple click; either way near the same place.
    this.#tapped = { clientX: place.clientX, clientY: place.clientY, when: event.timeStamp };
  }

  #end(event) {
    this.#enter("rest");
    this.#fingers.delete(event.pointerId);
    if (this.#fingers.size === 0) this.#state = "idle";
  }

  /** Go over to another state: what the last one held is let go, what the next one needs is taken. */
  #enter(next) {
    const last = this.#state;
    if (last === next) return;
    this.#state = next;
    clearTimeout(this.#timer);
    if (last === "drag") this.act.press(this.#first().at, 0);
    if (last === "pinch") this.view.settle();
    if (last === "held" || next === "held") this.act.held(next === "held" ? this.#first().from : null);
    if (next === "drag") this.act.press(this.#again ? this.#tapped : this.#first().from, 1);
    if (next === "slide") this.#grip = this.view.overflows ? { spot: this.view.spotAt(this.#first().from) } : null;
    if (next === "pinch") this.#grip = this.#gripped();
    if (next === "scroll") this.act.hover(this.#start());
  }

  /** The spot between two fingers, and how far they are apart at which scale. */
  #gripped() {
    const [one, two] = [...this.#fingers.values()];
    const spread = Math.max(distance(one.from, two.from), 1);
    return { spot: this.view.spotAt(this.#start()), scale: this.view.scale, spread };
  }

  #first() {
    return this.#fingers.values().next().value;
  }

  /** Between where the fingers came. */
  #start() {
    const [one, two = one] = [...this.#fingers.values()];
    return middle(one.from, two.from);
  }

  #middle() {
    const [one, two = one] = [...this.#fingers.values()];
    return middle(one.at, two.at);
  }
}

const pointOf = ({ clientX, clientY }) => ({ clientX, clientY });
const distance = (a, b) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
const middle = (a, b) => ({ clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 });
