// The line over the picture: messages of the server, until pictures come again. Uses no socket.

const READ_MS = 4000;
const MOST_LINES = 3;

export class Notes {
  #lines = []; // {text, parting, until}: `until` is when a picture may take it away

  constructor(place) {
    this.place = place;
    place.querySelector("button").onclick = () => this.clear();
  }

  /** Put a line there, under those that stand. `parting`: the last word of a connection, which the next must not wipe off unread. */
  say(text, { parting = false } = {}) {
    if (!text) return this.clear();
    const line = { text, parting, until: performance.now() + READ_MS, timer: 0 };
    this.#keep([...this.#lines.filter((other) => other.text !== text), line].slice(-MOST_LINES));
  }

  clear() {
    this.#keep([]);
  }

  /** A Screen came: pictures begin anew, so what stood for want of them may go with the first. */
  announced() {
    for (const line of this.#lines) if (!line.parting) line.until = 0;
  }

  /** Pictures came. */
  pictured() {
    const now = performance.now();
    for (const line of this.#lines) {
      if (line.until > now) line.timer ||= setTimeout(() => this.#remove(line), line.until - now);
    }
    this.#keep(this.#lines.filter((line) => line.until > now));
  }

  #remove(line) {
    this.#keep(this.#lines.filter((other) => other !== line));
  }

  #keep(lines) {
    if (lines.length === this.#lines.length && lines.every((line, at) => line === this.#lines[at])) return;
    for (const line of this.#lines) if (!lines.includes(line)) clearTimeout(line.timer);
    this.#lines = lines;
    this.place.hidden = lines.length === 0;
    this.place.querySelector("p").textContent = lines.map(({ text }) => text).join("\n");
  }
}
