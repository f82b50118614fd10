// Whether the connection works: the page asks every second, and counts what arrives. No DOM, no socket.

export const EVERY_MS = 1000;
const SILENT_MS = 3000; // without a word after we asked: a person is told
const GIVE_UP_MS = 8000; // without one at all: a large picture on a slow link takes longer than SILENT_MS
const ASLEEP_MS = 2500; // between two ticks: this computer slept, or the browser held us up, so nothing is known
const ROUNDS = 10;
const SPAN_MS = 3000; // that figures are of

/** Times are of `now`, a clock that only goes forward (ms). `ask(id)` sends a question that the other end echoes. */
export class Pulse {
  #asked = new Map(); // id -> when, oldest first
  #id = 0;
  #heard = 0;
  #ticked = 0;
  #rounds = [];
  #came = []; // {when, bytes, pictures}

  constructor({ ask, now = () => performance.now() }) {
    Object.assign(this, { ask, now });
  }

  /** A connection begins. */
  begin() {
    this.#rounds = [];
    this.#came = [];
    this.rest();
  }

  /** Nothing is known, for example while the page is hidden, because its timers do not run then. */
  rest() {
    this.#asked.clear();
    this.#heard = this.#ticked = this.now();
  }

  /** A message came, of so many bytes. */
  heard(bytes) {
    this.#heard = this.now();
    this.#came.push({ when: this.#heard, bytes, pictures: 0 });
  }

  /** So many pictures are shown. */
  pictures(count) {
    this.#came.push({ when: this.now(), bytes: 0, pictures: count });
  }

  /** The other end echoed a question. */
  echoed(id) {
    if (!this.#asked.has(id)) return;
    this.#rounds = [...this.#rounds, this.now() - this.#asked.get(id)].slice(-ROUNDS);
    for (const older of this.#asked.keys()) if (older <= id) this.#asked.delete(older);
  }

  /** Call this every second: asks, and says how it is: `well`, `silent` or `lost`. */
  tick() {
    const now = this.now();
    if (now - this.#ticked > ASLEEP_MS) this.rest();
    this.#ticked = now;
    this.#came = this.#came.filter(({ when }) => now - when < SPAN_MS);
    const silence = this.silence;
    if (silence > GIVE_UP_MS) return "lost";
    this.#asked.set(++this.#id, now);
    this.ask(this.#id);
    return silence > SILENT_MS ? "silent" : "well";
  }

  /** How long nothing came although we asked, in ms. */
  get silence() {
    const [oldest] = this.#asked.values();
    return oldest === undefined ? 0 : this.now() - Math.max(oldest, this.#heard);
  }

  /** {rtt (ms; null: not known yet), fps, bytes a second}. */
  get figures() {
    const sorted = [...this.#rounds].sort((a, b) => a - b);
    const recent = this.#came.filter(({ when }) => this.now() - when < SPAN_MS);
    const sum = (what) => recent.reduce((all, each) => all + each[what], 0) / (SPAN_MS / 1000);
    return { rtt: sorted.length ? sorted[sorted.length >> 1] : null, fps: sum("pictures"), bytes: sum("bytes") };
  }
}
