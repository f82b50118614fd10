// One terminal: xterm.js, and a WebSocket to the shell (pommel/wire/terminal.py has the messages). The shell ends with the
// WebSocket. What the shell's programs write is drawn by xterm.js alone: its links open nothing, and nothing of the page changes.

import { keepStylesOutOfLine } from "./inlinestyles.js";
import { MODIFIERS } from "./keys.js";

const [DATA, SIZE, SHOWN, ENDED] = [0, 1, 2, 3];
const TOLD_EVERY = 32 << 10; // bytes; a fraction of the server's window
const LONGEST = 32 << 10; // of one message: the server takes 128 KiB
const RESIZE_MS = 100;
const FONT = 'ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", "Noto Sans Mono", monospace';
const THEMES = {
  light: { background: "#ffffff", foreground: "#1d1e22", cursor: "#1d1e22", selectionBackground: "#2563eb55" },
  dark: { background: "#1b1c1f", foreground: "#e8e9ec", cursor: "#e8e9ec", selectionBackground: "#6ea2ff66" },
};
const dark = matchMedia("(prefers-color-scheme: dark)");

let loading = null;

/** xterm.js, loaded when the first terminal is opened: it is larger than the rest of the page. */
export function loadXterm() {
  loading ??= load();
  return loading;
}

async function load() {
  keepStylesOutOfLine();
  const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: "static/xterm.css" });
  document.head.append(link);
  const [{ Terminal }, { FitAddon }] = await Promise.all([import("./xterm.mjs"), import("./xterm-addon-fit.mjs")]);
  return { Terminal, FitAddon };
}

export class Shell {
  #socket = null;
  #shown = 0; // bytes that xterm.js has processed
  #told = 0;
  #resizing = 0;
  #leaving = false; // Ctrl, Alt and Shift are down and nothing else was pressed since

  /**
   * `place` is an empty element that is visible; `ended` is called with the reason once there is no shell any more, `leave`
   * when Ctrl+Alt+Shift is pressed and released: the Tab key goes to the shell.
   */
  constructor({ Terminal, FitAddon }, place, { ended, leave, say }) {
    Object.assign(this, { place, ended, leave, say });
    this.terminal = new Terminal({
      fontFamily: FONT,
      fontSize: 13,
      theme: THEMES[dark.matches ? "dark" : "light"],
      minimumContrastRatio: 4.5,
      scrollback: 5000,
      // A link's text may name another address than its target, and its author is whoever writes to the terminal.
      linkHandler: { activate: () => say("Links in a terminal are not opened from this page.") },
    });
    this.fit = new FitAddon();
    this.terminal.loadAddon(this.fit);
    this.terminal.open(place);
    this.terminal.attachCustomKeyEventHandler((event) => this.#key(event));
    this.terminal.onData((text) => this.#send(new TextEncoder().encode(text)));
    this.terminal.onBinary((text) => this.#send(Uint8Array.from(text, (one) => one.charCodeAt(0) & 255)));
    this.terminal.onResize(() => this.#resizeSoon());
    this.watching = new ResizeObserver(() => this.refit());
    this.watching.observe(place);
    this.theming = () => (this.terminal.options.theme = THEMES[dark.matches ? "dark" : "light"]);
    dark.addEventListener("change", this.theming);
    this.refit();
    this.#connect();
  }

  get open() {
    return this.#socket !== null;
  }

  focus() {
    this.terminal.focus();
  }

  /** Fit the number of columns and rows to the place, if it can be seen. */
  refit() {
    if (this.place.clientWidth && this.place.clientHeight) this.fit.fit();
  }

  /** End the shell, and remove the terminal. */
  dispose() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    clearTimeout(this.#resizing);
    this.watching.disconnect();
    dark.removeEventListener("change", this.theming);
    this.terminal.dispose();
  }

  #connect() {
    const address = new URL("terminal", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#tellSize();
      this.#tellShown();
    };
    socket.onmessage = ({ data }) => this.#receive(new Uint8Array(data));
    socket.onclose = ({ reason }) => this.#over(reason || "The connection was lost, and the shell has ended with it.");
    this.#socket = socket;
  }

  #receive(message) {
    if (message[0] === DATA) this.terminal.write(message.subarray(1), () => this.#processed(message.length - 1));
    else if (message[0] === ENDED) this.#over(new TextDecoder().decode(message.subarray(1)));
  }

  #processed(count) {
    this.#shown += count;
    if (this.#shown - this.#told >= TOLD_EVERY) this.#tellShown();
  }

  #over(reason) {
    if (!this.open) return;
    this.#socket.close();
    this.#socket = null;
    this.terminal.options.disableStdin = true;
    this.terminal.options.cursorInactiveStyle = "none";
    this.ended(reason);
  }

  // --- to the shell ---

  #send(bytes) {
    for (let at = 0; at < bytes.length; at += LONGEST) {
      const part = bytes.subarray(at, at + LONGEST);
      const message = new Uint8Array(1 + part.length);
      message[0] = DATA;
      message.set(part, 1);
      this.#give(message);
    }
  }

  #resizeSoon() {
    clearTimeout(this.#resizing);
    this.#resizing = setTimeout(() => this.#tellSize(), RESIZE_MS);
  }

  #tellSize() {
    const message = new DataView(new ArrayBuffer(5));
    message.setUint8(0, SIZE);
    message.setUint16(1, this.terminal.cols);
    message.setUint16(3, this.terminal.rows);
    this.#give(message);
  }

  #tellShown() {
    this.#told = this.#shown;
    const message = new DataView(new ArrayBuffer(5));
    message.setUint8(0, SHOWN);
    message.setUint32(1, this.#shown >>> 0);
    this.#give(message);
  }

  #give(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(message);
  }

  // --- keys that are not the shell's ---

  /** Whether xterm.js is to act on a key. */
  #key(event) {
    const { type, code, ctrlKey, altKey, shiftKey, metaKey } = event;
    if (this.#leaves(event)) return false;
    if (!ctrlKey || !shiftKey || altKey || metaKey) return true;
    if (code === "KeyC" && type === "keydown" && this.terminal.hasSelection()) {
      event.preventDefault();
      this.#copy();
    }
    return !["KeyC", "KeyV"].includes(code); // the browser makes a paste event of Ctrl+Shift+V
  }

  #leaves({ type, code, ctrlKey, altKey, shiftKey, metaKey }) {
    if (type === "keydown") this.#leaving = MODIFIERS.has(code) && ctrlKey && altKey && shiftKey && !metaKey;
    if (type !== "keyup" || !this.#leaving || !MODIFIERS.has(code)) return false;
    this.#leaving = false;
    this.leave();
    return true;
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.terminal.getSelection());
    } catch {
      this.say("The browser did not allow to copy. Use its own menu: press the right mouse button.");
    }
  }
}
