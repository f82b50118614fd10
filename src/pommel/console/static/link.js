// The connection to the console's server: one WebSocket, and what to do when it is silent or gone. No DOM.

import { EVERY_MS, Pulse } from "./pulse.js";

// The pause between two tries: at first by their number, then by the time since the last picture.
const RETRY_MS = [250, 500, 1000, 1000, 2000];
const SOON_MS = 3000;
const SOON_FOR_MS = 60_000;
const SELDOM_MS = 15_000;
const SELDOM_FOR_MS = 30 * 60_000; // then it is a person who tries again
const STATUS_MS = 2000;
const AT_REST = new Set(["stopped", "asleep", "crashed", "absent"]); // states of what is shown, in which there is nothing to show
const SHOWN = ["live", "silent", "paused"]; // states in which pictures of this connection are shown
const ENDED = 4001; // console.stream's
const PROTOCOL_BROKEN = 4002;
const CONNECT_MS = 10000;
const CONTROL_CHANNEL = "102938";

/**
 * States, given to `onState`: `connecting`, `waiting` (connected, no picture yet), `live`, `silent` (it was live, and does
 * not answer), `paused` (what is shown stands still, in a way that the server tells), `reconnecting`; and those in which
 * there is nothing to lay hands on: `stopped` (what is shown does not run),
 * `ended` (the console said so), `gone` (nothing has answered for a minute), `refused` (the token is not valid; the only one
 * that stays). With it come `about`, the name of what there is to say of it (console.telling), a `text` in its place,
 * and `next`, what happens by itself.
 */
export class Link {
  #socket = null;
  #attempt = 0;
  #timer = 0;
  #state = "";
  #away = false; // the server did not answer, or had nothing to show, when last asked
  #lost = performance.now(); // since when nothing is shown
  #reason = ""; // why the last connection ended, in the server's words
  #end = null; // what there was to say when it ended for good: {state, about, text}
  #resting = false;
  #stands = null; // how what is shown stands, if it does
  #pulse = new Pulse({ ask: (time) => this.#ask(time) });

  constructor({ onState, onOpen, onMessage, onText, onClose }) {
    Object.assign(this, { onState, onOpen, onMessage, onText, onClose });
    setInterval(() => this.#tick(), EVERY_MS);
  }

  /** How the connection is: see Pulse. */
  get figures() {
    return this.#pulse.figures;
  }

  /** So many pictures are shown. */
  shown(count) {
    this.#pulse.pictures(count);
  }

  /** The page is hidden, so its timers tell nothing; or it is shown again. */
  rest(resting) {
    this.#resting = resting;
    this.#pulse.rest();
  }

  /** The server echoed the question that was asked at `time`. */
  echoed(time) {
    this.#pulse.echoed(time);
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
    if (!["reconnecting", "ended", "gone"].includes(this.#state)) this.#enter("connecting", { text: "Connecting…" });
    const address = new URL("kvm?clipboard&audience", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#opened();
    socket.onmessage = ({ data }) => this.#received(data);
    socket.onclose = (event) => this.#closed(socket, event.reason, event.code);
    this.#socket = socket;
    this.#timer = setTimeout(() => this.#closed(socket, ""), CONNECT_MS);
  }

  /** The first picture is drawn. */
  pictured() {
    if (this.open && !SHOWN.includes(this.#state)) {
      clearTimeout(this.#timer);
      this.#attempt = 0;
      this.#end = null;
      this.#enterShown();
    }
  }

  /** The server told that what is shown stands still (`about` names what there is to say of it), or goes on (null). */
  stands(about) {
    this.#stands = about;
    if (this.#state === "live" || this.#state === "paused") this.#enterShown();
  }

  #enterShown() {
    if (this.#stands) this.#enter("paused", { about: this.#stands });
    else this.#enter("live", { text: "Live" });
  }

  /** Try again at once: a person asked, or the page came back into view. */
  retryNow() {
    if (this.#state !== "refused" && (this.#socket === null || this.#socket.readyState === WebSocket.CLOSED)) {
      this.#attempt = 0;
      this.#lost = performance.now();
      clearTimeout(this.#timer);
      this.#probe();
    }
  }

  #enter(state, { about = state, text = "", next = "" } = {}) {
    this.#state = state;
    this.onState(state, { about, text, next });
  }

  #opened() {
    clearTimeout(this.#timer);
    this.#pulse.begin();
    this.#stands = null;
    this.#enter("waiting", { text: "Waiting for the picture…" });
    this.#timer = setTimeout(() => this.#explainWait(), STATUS_MS);
    this.onOpen();
  }

  #ask(time) {
    this.send(JSON.stringify({ ctrlChannel: CONTROL_CHANNEL, type: "rtt", time }));
  }

  #tick() {
    if (!this.open || this.#resting) return;
    const found = this.#pulse.tick();
    if (found === "lost") return this.#closed(this.#socket, "");
    if (found === "silent" && SHOWN.includes(this.#state)) {
      const seconds = Math.round(this.#pulse.silence / 1000);
      this.#enter("silent", { text: "There is no answer. Keys that you press now are not sent.", next: `For ${seconds} s now.` });
    }
    return undefined;
  }

  #received(data) {
    this.#pulse.heard(data.length ?? data.byteLength);
    if (this.#state === "silent") this.#enterShown();
    if (typeof data === "string") return this.onText(data);
    try {
      this.onMessage(new Uint8Array(data));
    } catch (error) {
      this.#socket.close(PROTOCOL_BROKEN, String(error.message).slice(0, 100));
    }
    return undefined;
  }

  async #explainWait() {
    const { state } = await fetchStatus();
    if (this.#state !== "waiting" || !this.open) return;
    if (state && state !== "running") this.#enter("waiting", { about: state });
    else this.#enter("waiting", { text: "Waiting for the picture…" });
    this.#timer = setTimeout(() => this.#explainWait(), STATUS_MS);
  }

  // Close it here, because the browser would wait for minutes until it reports a connection that does not answer as closed.
  #closed(socket, reason, code) {
    if (socket !== this.#socket) return;
    clearTimeout(this.#timer);
    this.#socket = null;
    socket.close();
    this.onClose(reason);
    this.#reason = sentence(reason);
    const shown = SHOWN.includes(this.#state);
    if (shown) this.#lost = performance.now();
    if (code === ENDED) {
      this.#end ??= { state: "ended", text: this.#reason };
      return this.#later(RETRY_MS.length, () => this.#probe(), this.#end.state, this.#end);
    }
    if (shown) this.#enter("reconnecting", { text: "Connection lost.", next: "Reconnecting…" });
    return this.#probe();
  }

  // A WebSocket that is refused does not say why, and browsers slow down those that fail; so ask first.
  async #probe() {
    const attempt = ++this.#attempt;
    const status = await fetchStatus();
    if (this.#socket !== null || attempt !== this.#attempt) return;
    if (status.refused) return this.#enter("refused");
    const ready = status.up && !AT_REST.has(status.state);
    const back = ready && this.#away;
    this.#away = !ready;
    // A server that lets us in only to throw us out again is given time; one that just came back is not.
    if (ready && (back || attempt === 1)) return this.connect();
    const again = () => (ready ? this.connect() : this.#probe());
    const [state, said] = this.#findings(status, ready);
    return this.#later(attempt, again, state, said);
  }

  /** The state, and what there is to say of it, while there is no connection. */
  #findings(status, ready) {
    if (ready) return ["reconnecting", { text: sentence(status.error) || this.#reason || "Connection lost." }];
    if (status.full) return ["reconnecting", { about: "full" }];
    if (status.up) {
      // The console lives on for a while; once it has gone too, this still is what there is to say.
      this.#end = { state: "stopped", about: status.state };
    }
    if (this.#end) return [this.#end.state, this.#end];
    return this.#soon ? ["reconnecting", { about: "gone" }] : ["gone", {}];
  }

  get #soon() {
    return performance.now() - this.#lost < SOON_FOR_MS;
  }

  #later(attempt, action, state, said) {
    const now = performance.now();
    if (now - this.#lost > SELDOM_FOR_MS) {
      return this.#enter(state, { ...said, next: "This page has stopped trying to reconnect." });
    }
    const wait = this.#soon ? (RETRY_MS[attempt - 1] ?? SOON_MS) : SELDOM_MS;
    const end = now + wait; // a clock that nobody sets
    const what = state === "reconnecting" ? "Reconnecting" : "Trying to reconnect";
    const tick = () => {
      const left = end - performance.now();
      if (left <= 0) return action();
      this.#enter(state, { ...said, next: left >= 1000 ? `${what} in ${Math.ceil(left / 1000)} s` : `${what}…` });
      this.#timer = setTimeout(tick, Math.min(left, left % 1000 || 1000));
      return undefined;
    };
    return tick();
  }
}

/** A server's reason as a sentence. */
function sentence(reason) {
  if (!reason) return "";
  const text = reason[0].toUpperCase() + reason.slice(1);
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}

/** What the server says of itself and what it shows: {up, refused, full, state, error, guest (telling.Guest, where it is known)}. */
export async function fetchStatus() {
  try {
    const answer = await fetch("api/status", { cache: "no-store", signal: AbortSignal.timeout(4000) });
    if (answer.status === 403) return { refused: true };
    const isOurs = (answer.headers.get("Content-Type") ?? "").startsWith("application/json");
    if (answer.status === 503 && !isOurs) return { full: answer.headers.get("Server") === "pommel" };
    const document = await answer.json();
    return { up: true, state: String(document.state ?? ""), error: document.error, guest: document.guest };
  } catch {
    return {};
  }
}
