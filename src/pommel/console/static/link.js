// The connection to the console's server: one WebSocket, and what to do when it is gone. No DOM.

const RETRY_MS = [250, 500, 1000, 1000, 2000];
const SLOWEST_MS = 3000;
const STATUS_MS = 2000;
const STOPPED = new Set(["stopped", "missing", "crashed", "failed"]);
const PROTOCOL_BROKEN = 4002;

/**
 * States, given to `onState` with a text for people: `connecting`, `waiting` (connected, no picture yet), `live`,
 * `stopped` (the machine is), `reconnecting`, `refused` (the token is not valid; the only one that stays).
 */
export class Link {
  #socket = null;
  #attempt = 0;
  #timer = 0;
  #state = "";
  #away = false; // the server did not answer, or the machine was stopped, when last asked

  constructor({ onState, onOpen, onMessage, onText, onClose }) {
    Object.assign(this, { onState, onOpen, onMessage, onText, onClose });
  }

  get state() {
    return this.#state;
  }

  get open() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  send(bytes) {
    if (this.open) this.#socket.send(bytes);
  }

  connect() {
    clearTimeout(this.#timer);
    if (this.#state !== "reconnecting") this.#enter("connecting", "Connecting…");
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/kvm?clipboard&audience`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#opened();
    socket.onmessage = ({ data }) => this.#received(data);
    socket.onclose = (event) => this.#closed(socket, event);
    this.#socket = socket;
  }

  /** The first picture is drawn. */
  pictured() {
    if (this.open && this.#state !== "live") {
      clearTimeout(this.#timer);
      this.#attempt = 0;
      this.#enter("live", "Live");
    }
  }

  /** Try again at once: a person asked, or the page came back into view. */
  retryNow() {
    if (this.#state !== "refused" && (this.#socket === null || this.#socket.readyState === WebSocket.CLOSED)) {
      this.#attempt = 0;
      clearTimeout(this.#timer);
      this.#probe();
    }
  }

  #enter(state, text) {
    this.#state = state;
    this.onState(state, text);
  }

  #opened() {
    this.#enter("waiting", "Waiting for the machine…");
    this.#timer = setTimeout(() => this.#explainWait(), STATUS_MS);
    this.onOpen();
  }

  #received(data) {
    if (typeof data === "string") return this.onText(data);
    try {
      this.onMessage(new Uint8Array(data));
    } catch (error) {
      this.#socket.close(PROTOCOL_BROKEN, String(error.message).slice(0, 100));
    }
    return undefined;
  }

  async #explainWait() {
    const status = await fetchStatus();
    if (this.#state !== "waiting" || !this.open) return;
    const known = status.machine && status.machine !== "running";
    this.#enter("waiting", known ? `Waiting for the machine: it is ${status.machine}…` : "Waiting for the machine's picture…");
    this.#timer = setTimeout(() => this.#explainWait(), STATUS_MS);
  }

  #closed(socket, event) {
    if (socket !== this.#socket) return;
    clearTimeout(this.#timer);
    this.#socket = null;
    this.onClose(event.reason);
    if (this.#state === "live") this.#enter("reconnecting", "Connection lost. Reconnecting…");
    this.#probe();
  }

  // A WebSocket that is refused does not say why, and browsers slow down those that fail; so ask first.
  async #probe() {
    const attempt = ++this.#attempt;
    const status = await fetchStatus();
    if (this.#socket !== null || attempt !== this.#attempt) return;
    if (status.refused) return this.#enter("refused", "This page's access token is no longer valid.");
    const ready = status.up && !STOPPED.has(status.machine);
    const back = ready && this.#away;
    this.#away = !ready;
    // A server that lets us in only to throw us out again is given time; one that just came back is not.
    if (ready && (back || attempt === 1)) return this.connect();
    if (ready) return this.#later(attempt, () => this.connect(), "reconnecting", status.error);
    const [state, text] = status.up
      ? ["stopped", "The machine is stopped."]
      : ["reconnecting", "The console does not answer."];
    return this.#later(attempt, () => this.#probe(), state, text);
  }

  #later(attempt, action, state, text) {
    const wait = RETRY_MS[attempt - 1] ?? SLOWEST_MS;
    const end = Date.now() + wait;
    const tick = () => {
      const left = end - Date.now();
      if (left <= 0) return action();
      const when = left >= 1000 ? `Reconnecting in ${Math.ceil(left / 1000)} s` : "Reconnecting…";
      this.#enter(state, state === "stopped" ? text : `${text ?? ""} ${when}`.trim());
      this.#timer = setTimeout(tick, Math.min(left, left % 1000 || 1000));
      return undefined;
    };
    tick();
  }
}

/** What the server says of itself and its machine: {up, refused, machine, error}. */
async function fetchStatus() {
  try {
    const answer = await fetch("/api/status", { cache: "no-store", signal: AbortSignal.timeout(4000) });
    if (answer.status === 403) return { refused: true };
    const document = await answer.json();
    return { up: true, machine: String(document.state ?? ""), error: document.error };
  } catch {
    return { up: false };
  }
}
