// Turns keyboard, pointer and wheel into KVM commands. Remembers what is down, and releases it when the page loses the focus.

import { BUTTONS, encode } from "./codec.js";
import { KEYS, MODIFIERS, asWritten, isShiftless, lookUp, onMac, onWindows, pasteChord } from "./keys.js";
import { Locks, kindOf, mismatch, neverGoesUp } from "./modifiers.js";
import { NOTCH, Wheel } from "./wheel.js";

/** Back and forward, by the bit of PointerEvent.buttons. */
const SIDES = [[8, false], [16, true]];

export class Hands {
  swap = false;
  written = false; // the characters that the person's keyboard makes are sent, not its keys
  locks = new Locks();
  mouse = null; // what the machine's is: {sides, relative}; one that does not tell knows three buttons and one wheel
  used = false; // something was pressed
  released = () => {}; // called when all that was down is let go
  #keys = new Map(); // code -> the virtual key that went down for it
  #kinds = new Map(); // code -> which modifier it is, of those
  #dead = false; // the browser makes one character of a dead key and the next
  #buttons = 0;
  #at = [NaN, NaN]; // the pixel last pointed at; none yet
  #wheel = new Wheel();
  #moved = [0, 0]; // by how much of a count, while the pointer is locked
  #leaving = false; // Ctrl, Alt and Shift are down and nothing else was pressed since
  #controlDownAt = 0;
  #log = []; // what was done while a paste is waited for: commands, and further pastes
  #waits = false;

  /**
   * `field` is the text field over the canvas that has the keyboard's focus (input methods need one), `send` takes a
   * command's bytes, `leave` is called when the person presses and releases Ctrl+Alt+Shift, `paste` when they press a chord
   * that pastes: told whether the browser makes a paste event of it too, it returns undefined, or a promise that never
   * fails; the chord and what is done after it are sent only then. `lacks` is called when a button was pressed that the machine lacks.
   */
  constructor(picture, field, { send, leave, paste, lacks }) {
    Object.assign(this, { picture, field, sendNow: send, leave, paste, lacks });
    this.#listenToKeys();
    this.#listenToPointer();
  }

  get holding() {
    return this.#keys.size > 0 || this.#buttons !== 0;
  }

  /** Release everything that is down. */
  release() {
    for (const [code, key] of [...this.#keys].reverse()) this.#up(code, key);
    this.#setButtons(0);
    this.#leaving = false;
    this.field.value = "";
    this.released();
  }

  /** Send a command after all that was done before it; a promise instead is waited for. */
  send(item) {
    this.#log.push(item);
    if (!this.#waits) this.#sendLog();
  }

  /** Forget what was not sent yet: the machine's end has gone, and has let go of everything. */
  forget() {
    this.#log = [];
    this.#waits = false;
    this.mouse = null;
    this.locks.forget();
  }

  async #sendLog() {
    const log = this.#log;
    while (log.length > 0) {
      const next = log.shift();
      if (next instanceof Uint8Array) {
        this.sendNow(next);
        continue;
      }
      this.#waits = true;
      await next;
      if (log !== this.#log) return; // forgotten meanwhile
      this.#waits = false;
    }
  }

  /** Press keys (by code) one after the other and let go in reverse. */
  tap(codes) {
    this.used = true;
    const keys = codes.map((code) => KEYS[code]);
    for (const code of codes) this.locks.pressed(code);
    for (const [vk, extended] of keys) this.send(encode.key(vk, true, extended));
    for (const [vk, extended] of keys.reverse()) this.send(encode.key(vk, false, extended));
  }

  /** Press a key by its code, until `letGo`, which says whether it was down: a key that is held by no key event. */
  press(code) {
    const [vk, extended] = KEYS[code];
    this.used = true;
    this.locks.pressed(code);
    this.#keys.set(`held ${code}`, KEYS[code]);
    this.send(encode.key(vk, true, extended));
  }

  letGo(code) {
    const key = this.#keys.get(`held ${code}`);
    if (key) this.#up(`held ${code}`, key);
    return Boolean(key);
  }

  /** Act on a key event of another field than the screen's. */
  key(event) {
    if (event.type === "keydown") this.#keyDown(event);
    else this.#keyUp(event);
  }

  /** Type text, one UTF-16 unit after the other. */
  type(text) {
    this.used = true;
    const plain = text.replace(/\r\n?/g, "\n");
    for (let at = 0; at < plain.length; at += 1) {
      this.send(encode.keyUnicode(plain.charCodeAt(at), true));
      this.send(encode.keyUnicode(plain.charCodeAt(at), false));
    }
  }

  // --- keyboard ---

  #listenToKeys() {
    const { field } = this;
    field.addEventListener("keydown", (event) => this.#keyDown(event));
    field.addEventListener("keyup", (event) => this.#keyUp(event));
    field.addEventListener("compositionend", (event) => this.#typed(event.data));
    field.addEventListener("input", (event) => event.isComposing || this.#typed(field.value));
    field.addEventListener("blur", (event) => event.relatedTarget?.id === "soft" || this.release());
    window.addEventListener("blur", () => this.release());
  }

  #typed(text) {
    this.field.value = "";
    this.#dead = false;
    if (text) this.type(text);
  }

  #keyDown(event) {
    // An input method is at work; what it makes of the keys comes as text.
    if (event.isComposing || event.key === "Process" || event.keyCode === 229) return;
    this.#dropFalseControl(event);
    this.#agree(event, true);
    const sends = this.written ? asWritten(event) : {};
    if (this.#composes(event, sends)) return;
    if (!this.#pastes(event)) event.preventDefault();
    this.#watchForLeaving(event);
    if (event.repeat && MODIFIERS.has(event.code)) return;
    if (sends.text) return this.type(sends.text);
    if (!this.#keys.has(event.code) && isShiftless(event)) return this.type(event.key);
    const key = this.#keys.get(event.code) ?? lookUp(sends.code ?? event.code, this.swap);
    if (!key) return this.#unknownKey(event);
    if (sends.nothing) return;
    this.#down(event.code, key, kindOf(event.key), event.repeat);
    // A Mac's browser reports only that Caps Lock changed: one event for each press.
    if ((onMac && event.code === "CapsLock") || neverGoesUp(event)) this.#up(event.code, key);
  }

  /** Whether the browser is to make a character of this event and others: it comes as text. */
  #composes(event, sends) {
    if (this.written && event.key === "Dead") {
      this.#dead = true;
      return true;
    }
    const ends = this.#dead && Boolean(sends.text);
    if (ends || event.key === "Escape") this.#dead = false;
    return ends;
  }

  /** Have what is held be what an event says, before the machine hears of it. */
  #agree(event, mayPress) {
    const { up, down } = mismatch(event, this.#kinds, mayPress);
    // Of other keys that went up meanwhile nothing was told either; one that is down still repeats.
    const missed = up.length > 0 && !(event.type === "keyup" && kindOf(event.key));
    if (missed) this.#releaseOrdinaryKeys(event.code);
    for (const code of up) this.#up(code, this.#keys.get(code));
    for (const code of down) if (!this.#makesCharacters(code)) this.#down(code, lookUp(code, this.swap), kindName(code));
    if (event.type === "keydown" && !this.written) for (const code of this.locks.wrongFor(event)) this.tap([code]);
  }

  #makesCharacters(code) {
    return this.written && code === "AltRight";
  }

  #down(code, key, kind, repeats = false) {
    this.used = true;
    this.#keys.set(code, key);
    if (kind) this.#kinds.set(code, kind);
    if (!repeats) this.locks.pressed(code);
    this.send(encode.key(key[0], true, key[1]));
  }

  /** A chord that pastes waits until the machine has what is to be pasted; say whether the browser must go on with it. */
  #pastes(event) {
    const chord = pasteChord(event, new Set([...this.#keys.values()].map(([vk]) => vk)));
    const given = chord && this.paste(chord === "browser");
    if (given) this.send(given);
    return Boolean(given) && chord === "browser";
  }

  #keyUp(event) {
    if (event.isComposing) return;
    event.preventDefault();
    this.#agree(event, false);
    const key = this.#keys.get(event.code);
    if (key) this.#up(event.code, key);
    else if (onMac && event.code === "CapsLock") this.tap(["CapsLock"]);
    // A Mac's browser does not report keys that go up while Command is down.
    if (onMac && event.code.startsWith("Meta")) this.#releaseOrdinaryKeys();
    if (this.#leaving && MODIFIERS.has(event.code)) {
      this.release();
      this.leave();
    }
  }

  #up(code, key) {
    this.#keys.delete(code);
    this.#kinds.delete(code);
    this.send(encode.key(key[0], false, key[1]));
  }

  #releaseOrdinaryKeys(but) {
    for (const [code, key] of [...this.#keys]) if (!this.#kinds.has(code) && code !== but) this.#up(code, key);
  }

  #unknownKey(event) {
    // An on-screen keyboard, or a key no machine has: its character is all there is.
    if ([...event.key].length === 1 && !event.ctrlKey && !event.altKey && !event.metaKey) this.type(event.key);
  }

  #dropFalseControl(event) {
    // Windows reports AltGr as a left Control that nobody pressed, at the same moment.
    if (event.code === "ControlLeft") this.#controlDownAt = event.timeStamp;
    const control = this.#keys.get("ControlLeft");
    if (!onWindows || !control || event.key !== "AltGraph") return;
    if (event.timeStamp - this.#controlDownAt < 20) this.#up("ControlLeft", control);
  }

  #watchForLeaving(event) {
    const all = event.ctrlKey && event.altKey && event.shiftKey && !event.metaKey;
    this.#leaving = MODIFIERS.has(event.code) && all;
  }

  // --- pointer ---

  #listenToPointer() {
    const { canvas, stage } = this.picture;
    for (const type of ["pointerdown", "pointermove", "pointerup"]) {
      canvas.addEventListener(type, (event) => this.#pointer(event));
    }
    for (const type of ["pointercancel", "lostpointercapture"]) {
      canvas.addEventListener(type, (event) => event.pointerType === "touch" || this.#setButtons(0));
    }
    canvas.addEventListener("wheel", (event) => this.#turn(event), { passive: false });
    // Without these a press would take the focus from the field, and the middle button would paste or scroll.
    for (const type of ["mousedown", "auxclick", "dragstart"]) {
      canvas.addEventListener(type, (event) => event.preventDefault());
    }
    // Once there is nothing to lay hands on (the canvas is inert), the browser's own menu is of use again.
    stage.addEventListener("contextmenu", (event) => canvas.closest("[inert]") || event.preventDefault());
  }

  #pointer(event) {
    if (!event.isPrimary || event.pointerType === "touch") return; // what fingers do is told by `point` and `swipe`
    this.#agree(event, event.type === "pointerdown");
    if (event.type === "pointerdown") {
      if (!this.#locked) this.picture.canvas.setPointerCapture(event.pointerId);
      this.field.focus({ preventScroll: true });
    }
    if (this.#locked) return this.#moveBy(event);
    // A second button that goes down is told by a move, so it is `buttons` that counts.
    return this.point(event, event.buttons & 31);
  }

  /** Point at a point of the window with these buttons down (bits 1 left, 2 right, 4 middle …), or with those that are. */
  point(at, buttons = this.#buttons) {
    const moved = this.#moveTo(at);
    if (!this.#setButtons(buttons) && moved) this.send(encode.mouse(...this.#at, 0));
  }

  /** Turn the wheel at a point so that what is there moves by so many of the machine's pixels, to the right and down. */
  swipe(at, dx, dy) {
    this.#moveTo(at);
    this.#roll(this.#wheel.swiped(dx, dy));
  }

  /** Whether the machine has the pointer to itself. */
  get #locked() {
    return document.pointerLockElement === this.picture.canvas;
  }

  #moveBy({ movementX, movementY, buttons }) {
    const all = [this.#moved[0] + movementX, this.#moved[1] + movementY];
    const whole = all.map((by) => Math.min(Math.max(Math.trunc(by), -0x7fff), 0x7fff));
    this.#moved = all.map((by) => by - Math.trunc(by));
    if (whole[0] || whole[1]) this.send(encode.moveBy(...whole, 0));
    this.#setButtons(buttons & 31);
  }

  #moveTo(event) {
    const [x, y] = this.picture.pixelAt(event.clientX, event.clientY);
    const moved = x !== this.#at[0] || y !== this.#at[1];
    this.#at = [x, y];
    return moved;
  }

  #setButtons(buttons) {
    const changed = this.#buttons ^ buttons;
    this.#buttons = buttons;
    for (const bit of [1, 2, 4]) if (changed & bit) this.#press(bit, (buttons & bit) !== 0);
    for (const [bit, forward] of SIDES) if (changed & bit) this.#pressSide(forward, (buttons & bit) !== 0);
    return changed !== 0;
  }

  #press(bit, down) {
    this.used = true;
    const said = BUTTONS[bit][down ? "down" : "up"];
    this.send(this.#locked ? encode.moveBy(0, 0, said) : encode.mouse(...this.#at, said));
  }

  /** Press a mouse's back and let it go: of a browser that tells only that it was. */
  back() {
    for (const down of [true, false]) this.#pressSide(false, down);
  }

  #pressSide(forward, down) {
    if (this.mouse?.sides) this.send(encode.sideButton(...this.#at, forward, down));
    else if (down) this.lacks(forward ? "forward" : "back");
  }

  #turn(event) {
    event.preventDefault();
    const pinched = event.ctrlKey && ![...this.#kinds.values()].includes("Control");
    this.#agree(event, false);
    if (!this.#locked) this.#moveTo(event);
    if (pinched) this.#zoom(this.#wheel.pinch(event));
    else this.#roll(this.#wheel.take(event));
  }

  #roll({ up, right }) {
    if (!this.mouse) return this.#rollNotches(this.#wheel.notches(up));
    if (up || right) this.send(encode.turn(...this.#at, up, right));
    return undefined;
  }

  #rollNotches(notches) {
    if (notches) this.send(encode.wheel(...this.#at, notches * NOTCH));
  }

  /** A pinch on a touchpad: Ctrl is held for as long as the wheel turns. */
  #zoom(notches) {
    if (!notches) return;
    const [vk, extended] = KEYS.ControlLeft;
    this.send(encode.key(vk, true, extended));
    this.#roll({ up: notches * NOTCH, right: 0 });
    this.send(encode.key(vk, false, extended));
  }
}

const kindName = (code) => (code === "AltRight" ? "AltGraph" : code.replace(/Left$/, ""));
