// Opens and closes the soft keyboard with its row of keys, and keeps the picture visible above it.

import { KeyRow } from "./keyrow.js";
import { SoftKeys } from "./softkeys.js";

const KEYBOARD = 120; // CSS pixels that a keyboard takes at least; a browser's own bars take less

export class SoftBoard {
  #seen = false; // the system's keyboard has been there since it was opened

  /**
   * `button` opens and closes it, `field` has its text, `row` its keys; `leave` gives the focus back to the screen, `opened`
   * is called when it opens or closes.
   */
  constructor({ button, field, row, guest, hands, view, leave, opened }) {
    Object.assign(this, { button, field, row, view, leave, opened });
    this.keys = new KeyRow(row, hands, { guest, used: () => this.soft.forget(), close: () => this.close() });
    this.soft = new SoftKeys(field, { send: (change) => this.#type(change), key: (event) => this.#key(event) });
    this.hands = hands;
    hands.released = () => this.keys.forget();
    button.onclick = () => this.toggle();
    button.addEventListener("mousedown", (event) => event.preventDefault());
    for (const type of ["resize", "scroll"]) visualViewport?.addEventListener(type, () => this.#fit());
    new ResizeObserver(() => this.#fit()).observe(row);
  }

  get open() {
    return !this.row.hidden;
  }

  toggle() {
    if (this.open) this.close();
    else this.#show(true);
  }

  close() {
    if (!this.open) return;
    this.#show(false);
    this.leave();
  }

  /** Something was pointed at: the modifiers are spent, and what is typed goes elsewhere. */
  pointed() {
    this.keys.spent();
    if (this.open) this.soft.forget();
  }

  #show(open) {
    this.row.hidden = this.field.hidden = !open;
    this.button.setAttribute("aria-pressed", open);
    document.body.toggleAttribute("data-keyboard", open);
    this.#seen = false;
    if (open) {
      this.soft.forget();
      this.field.focus({ preventScroll: true });
    } else {
      this.hands.release();
    }
    this.opened(open);
    this.#fit();
  }

  #type({ gone, text }) {
    const chord = this.keys.holds;
    for (let count = gone; count > 0; count -= 1) this.hands.tap(["Backspace"]);
    if (gone) this.keys.spent();
    this.keys.type(text);
    if (chord) this.soft.forget(); // a shortcut, and no part of the text
  }

  #key(event) {
    this.hands.key(event);
    if (event.type === "keydown") this.soft.forget();
  }

  /** Leave the keyboard its part of the window, and keep what was pointed at last in sight above it. */
  #fit() {
    this.keys.fit();
    const { height, offsetTop, scale } = visualViewport ?? { height: innerHeight, offsetTop: 0, scale: 1 };
    const taken = this.open && scale === 1 ? Math.max(document.documentElement.clientHeight - height - offsetTop, 0) : 0;
    document.body.style.setProperty("--covered", `${taken}px`);
    this.view.covered = taken + (this.open ? this.row.offsetHeight : 0);
    this.view.layout();
    if (this.open) this.view.reveal();
    // The system's own key for it hides the keyboard, too.
    if (this.#seen && taken < KEYBOARD) this.close();
    else this.#seen ||= taken >= KEYBOARD;
  }
}
