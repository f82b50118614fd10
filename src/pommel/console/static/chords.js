// The Keys menu: chords and keys of the guest's system that the browser or its desktop uses itself. Each is sent by the
// places of its keys (KeyboardEvent.code), whatever is printed on them.

import { remember, settings } from "./settings.js";

const MODIFIERS = {
  mac: { Control: ["⌃", "Control"], Alt: ["⌥", "Option"], Meta: ["⌘", "Command"], Shift: ["⇧", "Shift"] },
  linux: { Control: ["Ctrl"], Alt: ["Alt"], Meta: ["Super"], Shift: ["Shift"] },
  windows: { Control: ["Ctrl"], Alt: ["Alt"], Meta: ["Win", "Windows"], Shift: ["Shift"] },
};
const LEGENDS = {
  Escape: ["Esc", "Escape"], Delete: ["Del", "Delete"], PrintScreen: ["PrtSc", "Print Screen"], ContextMenu: ["Menu"],
  ArrowUp: ["↑", "Up"], ArrowDown: ["↓", "Down"], ArrowLeft: ["←", "Left"], ArrowRight: ["→", "Right"],
  Backspace: ["Bksp", "Backspace"], Insert: ["Ins", "Insert"], PageUp: ["PgUp", "Page Up"], PageDown: ["PgDn", "Page Down"],
};

const FUNCTION_KEYS = Array.from({ length: 12 }, (_, at) => `F${at + 1}`);

/** By guest: chords with what they do, keys that are sent alone, and the modifiers that text consoles are reached with. */
export const GUESTS = {
  mac: {
    chords: {
      "MetaLeft AltLeft Escape": "Force quit",
      "MetaLeft KeyQ": "Quit app",
      "MetaLeft KeyW": "Close window",
      "MetaLeft Tab": "Switch app",
      "MetaLeft Space": "Spotlight",
      "ControlLeft MetaLeft KeyQ": "Lock screen",
      "ShiftLeft MetaLeft Digit3": "Capture the screen",
      "ShiftLeft MetaLeft Digit4": "Capture an area",
      "ShiftLeft MetaLeft Digit5": "Capture or record",
      "ControlLeft ArrowUp": "Mission Control",
      "ControlLeft ArrowDown": "Windows of the app",
      "ControlLeft ArrowLeft": "Space on the left",
      "ControlLeft ArrowRight": "Space on the right",
    },
    alone: ["Escape", "Tab", "Home", "End", "PageUp", "PageDown"],
  },
  linux: {
    chords: {
      "ControlLeft AltLeft Delete": "Log out or restart",
      "MetaLeft": "Menu or overview",
      "AltLeft Tab": "Switch window",
      "AltLeft F4": "Close window",
      "AltLeft F2": "Run a command",
      "MetaLeft KeyL": "Lock screen",
      "ControlLeft AltLeft KeyT": "Terminal",
      "ControlLeft AltLeft Backspace": "End the session, if allowed",
    },
    alone: ["Escape", "Tab", "PrintScreen", "Pause", "Insert", "ContextMenu"],
    consoles: ["ControlLeft", "AltLeft"],
  },
  windows: {
    chords: {
      "ControlLeft AltLeft Delete": "Security options",
      "MetaLeft KeyL": "Lock",
      "MetaLeft KeyR": "Run",
      "AltLeft Tab": "Switch window",
      "AltLeft F4": "Close window",
      "MetaLeft": "Start menu",
      "MetaLeft KeyD": "Show the desktop",
      "MetaLeft KeyE": "Files",
      "MetaLeft Tab": "Task view",
      "ControlLeft ShiftLeft Escape": "Task Manager",
      "MetaLeft ShiftLeft KeyS": "Capture an area",
    },
    alone: ["Escape", "Tab", "PrintScreen", "Pause", "Insert", "ContextMenu"],
  },
};

export class Chords {
  #guest = "";

  /**
   * `told` is the guest as the server knows it ("" if it does not); a person's own choice is remembered for the page
   * `name`. `send` takes the codes of a chord's keys, in the order in which they go down; `changed` the guest, when
   * that changes.
   */
  constructor(menu, { name, told, send, changed }) {
    Object.assign(this, { menu, name, send, changed });
    this.select = menu.querySelector("select");
    this.select.onchange = () => this.#choose(this.select.value);
    menu.addEventListener("click", (event) => this.#clicked(event));
    this.tell(told);
  }

  /** Whether it is known whose keys these are. */
  get known() {
    return this.#guest !== "";
  }

  /** The server knows now which guest it is; a person's choice stands. */
  tell(guest) {
    const chosen = settings.guests?.[this.name];
    const known = [chosen, guest].find((one) => one in GUESTS);
    this.#guest = known ?? "";
    this.#show(known ?? "linux");
  }

  #choose(guest) {
    remember({ guests: { ...settings.guests, [this.name]: guest } });
    this.tell(guest);
  }

  #show(guest) {
    const { chords, alone, consoles } = GUESTS[guest];
    const part = (name) => this.menu.querySelector(name);
    this.select.value = guest;
    part(".chords").replaceChildren(...Object.entries(chords).map(([codes, what]) => chord(codes, what, guest)));
    part(".alone").replaceChildren(...alone.map((code) => key([code], guest)));
    part(".functions").replaceChildren(...FUNCTION_KEYS.map((code) => key([code], guest)));
    part(".consoles").replaceChildren(...(consoles ? FUNCTION_KEYS : []).map((code) => key([...consoles, code], guest)));
    for (const one of this.menu.querySelectorAll("[data-only]")) one.hidden = one.dataset.only !== guest;
    this.changed(guest);
  }

  #clicked(event) {
    const keys = event.target.closest("[data-keys]")?.dataset.keys;
    if (!keys) return;
    this.menu.hidePopover();
    this.send(keys.split(" "));
  }
}

/** What is printed on a key, and how it is said. */
function legend(code, guest) {
  const [, modifier] = /^(Control|Alt|Meta|Shift)(Left|Right)$/.exec(code) ?? [];
  const [short, said = short] = (modifier ? MODIFIERS[guest][modifier] : LEGENDS[code]) ?? [code.replace(/^(Key|Digit)/, "")];
  return { short, said };
}

const make = (kind, textContent) => Object.assign(document.createElement(kind), { textContent });

function button(codes, guest, name) {
  const one = make("button", "");
  one.type = "button";
  one.dataset.keys = codes.join(" ");
  one.ariaLabel = name(codes.map((code) => legend(code, guest).said).join(" "));
  return one;
}

function chord(keys, what, guest) {
  const codes = keys.split(" ");
  const one = button(codes, guest, (said) => `${what}: ${said}`);
  one.append(...codes.map((code) => make("kbd", legend(code, guest).short)), make("span", what));
  return one;
}

function key(codes, guest) {
  const one = button(codes, guest, (said) => said);
  one.textContent = legend(codes.at(-1), guest).short;
  return one;
}
