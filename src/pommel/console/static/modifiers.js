// Compares the modifiers and locks of an event with what is held, because browsers do not report every key that goes up (a
// screenshot chord on a Mac, Win+Space, the first of two Shifts), or changes while the page had no focus. No DOM.

import { onMac, onWindows } from "./keys.js";

/** KeyEvent.key of modifiers, and the kind of each. */
const KINDS = { Shift: "Shift", Control: "Control", Alt: "Alt", AltGraph: "AltGraph", Meta: "Meta", OS: "Meta" };
const PRESSED_BY = { Shift: "ShiftLeft", Control: "ControlLeft", Alt: "AltLeft", AltGraph: "AltRight", Meta: "MetaLeft" };

/** Keys of Japanese keyboards that Windows tells only the pressing of. */
const NEVER_UP = new Set([
  "Zenkaku", "Hankaku", "ZenkakuHankaku", "Alphanumeric", "Katakana", "Hiragana", "HiraganaKatakana", "Romaji", "KanaMode",
]);

export const kindOf = (key) => KINDS[key];
export const neverGoesUp = ({ key }) => onWindows && NEVER_UP.has(key);

/** Which kinds an event says are down; undefined for those of which it says nothing. */
function saidBy(event) {
  const altGraph = event.getModifierState("AltGraph");
  const said = { Shift: event.shiftKey, Control: event.ctrlKey, Alt: event.altKey, AltGraph: altGraph, Meta: event.metaKey };
  // Windows makes AltGr of Control and Alt, and elsewhere the right Alt may be either.
  if (altGraph) said.Control = said.Alt = undefined;
  else if (event.altKey) said.AltGraph = undefined;
  if (!(event instanceof KeyboardEvent)) said.AltGraph = undefined;
  return said;
}

/**
 * What to do before an event is acted on: {up: codes, down: codes}. `held` is an iterable of [code, kind] of what is held.
 * Nothing is pressed for an event that `mayPress` is false for: a key going up, a pointer that only moves.
 */
export function mismatch(event, held, mayPress) {
  const said = saidBy(event);
  const own = kindOf(event.key);
  if (own && event.type === "keydown") said[own] = undefined;
  const kinds = new Set([...held].map(([, kind]) => kind));
  const up = [...held].filter(([code, kind]) => said[kind] === false && code !== event.code).map(([code]) => code);
  if (!mayPress || own) return { up, down: [] };
  const missing = Object.keys(said).filter((kind) => said[kind] === true && !kinds.has(kind));
  const reached = (kind) => kind === "AltGraph" && kinds.has("Alt");
  return { up, down: missing.filter((kind) => !reached(kind)).map((kind) => PRESSED_BY[kind]) };
}

const NUM = 1;
const CAPS = 4;
const LOCKS = { CapsLock: CAPS, NumLock: NUM };

/** The machine's lock keys, as far as it tells of them, and with what was pressed since. */
export class Locks {
  #bits = undefined;
  #hasNumLock = false; // a Mac has none, and clears a sum with that key

  told(bits) {
    this.#bits = bits;
    this.#hasNumLock ||= (bits & NUM) !== 0;
  }

  forget() {
    this.#bits = undefined;
    this.#hasNumLock = false;
  }

  /** Take note that a key goes down there. */
  pressed(code) {
    if (this.#bits !== undefined) this.#bits ^= LOCKS[code] ?? 0;
  }

  /** The lock keys to press before a key event, so that the machine has them as this computer does. */
  wrongFor(event) {
    if (this.#bits === undefined || event.code in LOCKS || event.repeat) return [];
    const wrong = (code) => event.getModifierState(code) !== ((this.#bits & LOCKS[code]) !== 0);
    const keypad = /^Numpad(\d|Decimal)$/.test(event.code) && this.#hasNumLock && !onMac;
    const letter = /^.$/u.test(event.key) && event.key.toLowerCase() !== event.key.toUpperCase();
    return [...(letter && wrong("CapsLock") ? ["CapsLock"] : []), ...(keypad && wrong("NumLock") ? ["NumLock"] : [])];
  }
}
