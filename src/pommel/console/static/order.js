// Decides which clipboard has the newer copy, this computer's or the machine's. No DOM and no clock: events are counted.
//
// The server reports each copy in the machine. A browser reports copies on this computer either at once (the event
// clipboardchange: Chromium since 144, without a permission) or never. If never, a copy is detected by the content of a
// paste, and by whether the person left the page meanwhile. If both sides changed during that time, this computer's counts.

export class Order {
  #now = 0;
  #machine = 0; // when each was changed last, and when both were made the same; 0 for never
  #here = 0;
  #agreed = 0;
  #came = 0; // when the person last came to the page
  #seen = null; // what this computer's clipboard had when it was last looked at
  #hears; // whether this browser tells of changes

  /** `hears` if it is certain that this browser tells of changes; otherwise the first one shows it. */
  constructor(hears) {
    this.#hears = hears;
  }

  /** A connection begins: nothing is known of the machine. */
  begin() {
    this.#machine = this.#here = this.#agreed = 0;
  }

  /** The machine's clipboard has changed, not by this page. */
  machineChanged() {
    this.#machine = ++this.#now;
  }

  /** The browser tells that this computer's clipboard has changed, not by this page. */
  hereChanged() {
    this.#hears = true;
    this.#here = ++this.#now;
  }

  /** The person comes to the page: from here on they copy in the machine, unless the browser tells otherwise. */
  came() {
    this.#came = ++this.#now;
  }

  /** This computer's clipboard was looked at. */
  saw(clip) {
    this.#seen = clip;
  }

  /** Both have the same now. */
  agreed(clip) {
    this.#seen = clip;
    this.#agreed = ++this.#now;
  }

  /** Whether `saw` would tell more than the browser does. */
  get looks() {
    return !this.#hears;
  }

  /** Whether this computer's is newer, or the page was just opened: true, false, or undefined if it takes a look. */
  get hereIsNewer() {
    if (this.#machine === 0 && this.#agreed === 0) return true;
    if (this.#here > Math.max(this.#machine, this.#agreed)) return true;
    if (this.#hears) return false;
    // Who was here all the time since the machine's copy has copied nothing elsewhere.
    return this.#machine > Math.max(this.#agreed, this.#came) ? false : undefined;
  }

  /** The same where this computer's clipboard has `clip`. */
  isNewer(clip) {
    return this.hereIsNewer ?? !alike(clip, this.#seen);
  }
}

/** Whether two clips are one copy, as far as a browser lets that be told: it rewrites HTML and pictures at each look. */
function alike(one, other) {
  for (const name of ["text", "html", "png"]) {
    const bytes = one.get(name);
    const others = other?.get(name);
    if (bytes && others) return bytes.length === others.length && bytes.every((byte, at) => byte === others[at]);
    if (bytes || others) return false;
  }
  return true;
}
