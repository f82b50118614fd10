// The row of keys that soft keyboards do not have: sticky modifiers, Esc, Tab, arrows, function keys. A modifier that is
// pressed once holds for the next key or tap; pressed twice, until it is pressed again. It is down in the machine meanwhile.

import { keysOf } from "./keys.js";

const TWICE_MS = 400;
const KEY = 46; // CSS pixels: a fingertip, with its border
const GAP = 4; // as in the stylesheet

// The modifiers by what they are called where they go, each with what is said of it.
const MAC = {
  ControlLeft: ["ctrl", "Control"], AltLeft: ["⌥ opt", "Option"], MetaLeft: ["⌘ cmd", "Command"], ShiftLeft: ["⇧ shift", "Shift"],
};
const PC = { ControlLeft: ["Ctrl", "Control"], AltLeft: ["Alt", "Alt"], MetaLeft: ["Super", "Super"], ShiftLeft: ["Shift", "Shift"] };
const MODIFIERS = { mac: MAC, windows: { ...PC, MetaLeft: ["Win", "Windows key"] } };
const KEYS = [
  ["Escape", "esc", "Escape"], ["Tab", "⇥ tab", "Tab"],
  ["ArrowLeft", "←", "Left"], ["ArrowUp", "↑", "Up"], ["ArrowDown", "↓", "Down"], ["ArrowRight", "→", "Right"],
];
const MORE = [
  ...Array.from({ length: 12 }, (_, n) => [`F${n + 1}`, `F${n + 1}`, `F${n + 1}`]),
  ["Home", "home", "Home"], ["End", "end", "End"], ["PageUp", "pg ↑", "Page up"], ["PageDown", "pg ↓", "Page down"],
  ["Insert", "ins", "Insert"], ["Delete", "del", "Delete forward"],
];

export class KeyRow {
  #pressed = new Map(); // modifier's code -> when it was pressed
  #locked = new Set();

  /**
   * Fill `row`. `guest` is what the page knows of it ("mac", "windows", …): the modifiers have its names. `hands` presses; `used` is called when a key was
   * pressed here, `close` when the row and the keyboard are to go.
   */
  constructor(row, hands, { guest, used, close }) {
    Object.assign(this, { row, hands, used });
    const [esc, tab, ...arrows] = KEYS.map((key) => this.#plain(...key));
    const modifiers = Object.entries(MODIFIERS[guest] ?? PC).map(([code, names]) => this.#modifier(code, ...names));
    const more = this.#button("F1…", "Function keys", "F-keys, Home, End, Page up and down, Insert, Delete");
    more.setAttribute("aria-expanded", false);
    more.onclick = () => {
      more.setAttribute("aria-expanded", row.toggleAttribute("data-more"));
      this.fit();
    };
    const hide = this.#button("⌨ ↓", "Hide the keyboard", "Hide the keyboard");
    hide.onclick = close;
    for (const key of arrows) key.classList.add("less", "arrow");
    const extra = MORE.map((key) => this.#plain(...key));
    for (const key of extra) key.classList.add("more");
    row.append(esc, tab, ...modifiers, ...arrows, ...extra, more, hide);
    row.addEventListener("mousedown", (event) => event.preventDefault()); // the soft keyboard stays
  }

  /** Have as many keys in each line, so that none is alone in the last one. */
  fit() {
    const shown = [...this.row.children].filter((key) => key.offsetParent).length;
    const most = Math.max(Math.floor((this.row.clientWidth - GAP) / (KEY + GAP)), 1);
    if (shown) this.row.style.setProperty("--columns", Math.ceil(shown / Math.ceil(shown / most)));
  }

  /** Whether a modifier is down. */
  get holds() {
    return this.#pressed.size > 0;
  }

  /** Type a text; under modifiers each character is the key that has it printed on it. */
  type(text) {
    for (const character of text) {
      const keys = this.holds || character === "\n" ? keysOf(character) : undefined;
      if (keys) this.hands.tap(keys);
      else this.#without(() => this.hands.type(character));
      this.spent();
    }
  }

  /** A key or a tap was made under the modifiers: those pressed once are let go. */
  spent() {
    for (const code of [...this.#pressed.keys()]) if (!this.#locked.has(code)) this.#release(code);
  }

  /** The hands have let go of everything. */
  forget() {
    this.#pressed.clear();
    this.#locked.clear();
    this.#show();
  }

  /** A character that no key has is typed without modifiers; those that hold are pressed again. */
  #without(act) {
    const locked = [...this.#locked];
    for (const code of [...this.#pressed.keys()]) this.#release(code);
    act();
    for (const code of locked) this.#press(code).#locked.add(code);
    this.#show();
  }

  #modifier(code, name, said) {
    const button = this.#button(name, said, `${said}: press once for the next key, twice to hold it`);
    Object.assign(button.dataset, { modifier: code });
    button.setAttribute("aria-pressed", false);
    button.onclick = (event) => {
      const again = event.timeStamp - (this.#pressed.get(code) ?? -Infinity) < TWICE_MS && !this.#locked.has(code);
      if (!this.#pressed.has(code)) this.#press(code, event.timeStamp);
      else if (again) this.#locked.add(code);
      else this.#release(code);
      this.#show();
      this.used(); // what is composed is done: the next character is alone under the modifier
    };
    return button;
  }

  /** A key that is down for as long as the finger is, so that the machine repeats it. */
  #plain(code, name, said) {
    const button = this.#button(name, said, said);
    const up = () => {
      if (!this.hands.letGo(code)) return;
      this.spent();
      this.used();
    };
    button.onpointerdown = (event) => {
      button.setPointerCapture(event.pointerId);
      this.hands.press(code);
    };
    button.onpointerup = button.onpointercancel = button.onlostpointercapture = up;
    button.onclick = (event) => {
      if (event.detail > 0) return; // a pointer's, told already
      this.hands.press(code);
      up();
    };
    return button;
  }

  #button(textContent, label, title) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent, title });
    button.setAttribute("aria-label", label);
    return button;
  }

  #press(code, when = -Infinity) {
    this.#pressed.set(code, when);
    this.hands.press(code);
    return this;
  }

  #release(code) {
    this.#pressed.delete(code);
    this.#locked.delete(code);
    this.hands.letGo(code);
    this.#show();
  }

  #show() {
    for (const button of this.row.querySelectorAll("[data-modifier]")) {
      const code = button.dataset.modifier;
      button.setAttribute("aria-pressed", this.#pressed.has(code));
      button.toggleAttribute("data-locked", this.#locked.has(code));
    }
  }
}
