// Physical keys: KeyboardEvent.code to the wire's virtual key [number, extended]. No DOM beyond the browser's name.
// The table is the same as in pommel.wire.keymap_tables; a test compares both.

export const KEYS = {
  Escape: [0x1b],
  F1: [0x70],
  F2: [0x71],
  F3: [0x72],
  F4: [0x73],
  F5: [0x74],
  F6: [0x75],
  F7: [0x76],
  F8: [0x77],
  F9: [0x78],
  F10: [0x79],
  F11: [0x7a],
  F12: [0x7b],
  F13: [0x7c],
  F14: [0x7d],
  F15: [0x7e],
  F16: [0x7f],
  F17: [0x80],
  F18: [0x81],
  F19: [0x82],
  F20: [0x83],
  F21: [0x84],
  F22: [0x85],
  F23: [0x86],
  F24: [0x87],
  Digit1: [0x31],
  Digit2: [0x32],
  Digit3: [0x33],
  Digit4: [0x34],
  Digit5: [0x35],
  Digit6: [0x36],
  Digit7: [0x37],
  Digit8: [0x38],
  Digit9: [0x39],
  Digit0: [0x30],
  KeyA: [0x41],
  KeyB: [0x42],
  KeyC: [0x43],
  KeyD: [0x44],
  KeyE: [0x45],
  KeyF: [0x46],
  KeyG: [0x47],
  KeyH: [0x48],
  KeyI: [0x49],
  KeyJ: [0x4a],
  KeyK: [0x4b],
  KeyL: [0x4c],
  KeyM: [0x4d],
  KeyN: [0x4e],
  KeyO: [0x4f],
  KeyP: [0x50],
  KeyQ: [0x51],
  KeyR: [0x52],
  KeyS: [0x53],
  KeyT: [0x54],
  KeyU: [0x55],
  KeyV: [0x56],
  KeyW: [0x57],
  KeyX: [0x58],
  KeyY: [0x59],
  KeyZ: [0x5a],
  Backquote: [0xc0],
  Minus: [0xbd],
  Equal: [0xbb],
  Backspace: [0x08],
  Tab: [0x09],
  BracketLeft: [0xdb],
  BracketRight: [0xdd],
  Backslash: [0xdc],
  CapsLock: [0x14],
  Semicolon: [0xba],
  Quote: [0xde],
  Enter: [0x0d],
  ShiftLeft: [0x10],
  IntlBackslash: [0xe2],
  Comma: [0xbc],
  Period: [0xbe],
  Slash: [0xbf],
  ShiftRight: [0xa1],
  ControlLeft: [0x11],
  AltLeft: [0x12],
  MetaLeft: [0x5b, 1],
  Space: [0x20],
  MetaRight: [0x5c, 1],
  AltRight: [0x12, 1],
  ControlRight: [0x11, 1],
  ContextMenu: [0x5d, 1],
  PrintScreen: [0x2c, 1],
  ScrollLock: [0x91],
  Pause: [0x13],
  Insert: [0x2d, 1],
  Delete: [0x2e, 1],
  Home: [0x24, 1],
  End: [0x23, 1],
  PageUp: [0x21, 1],
  PageDown: [0x22, 1],
  ArrowUp: [0x26, 1],
  ArrowLeft: [0x25, 1],
  ArrowDown: [0x28, 1],
  ArrowRight: [0x27, 1],
  NumLock: [0x90],
  NumpadDivide: [0x6f, 1],
  NumpadMultiply: [0x6a],
  NumpadSubtract: [0x6d],
  NumpadAdd: [0x6b],
  NumpadEnter: [0x0d, 1],
  NumpadDecimal: [0x6e],
  Numpad0: [0x60],
  Numpad1: [0x61],
  Numpad2: [0x62],
  Numpad3: [0x63],
  Numpad4: [0x64],
  Numpad5: [0x65],
  Numpad6: [0x66],
  Numpad7: [0x67],
  Numpad8: [0x68],
  Numpad9: [0x69],
  NumpadEqual: [0x92],
  NumpadComma: [0xc2],
  IntlRo: [0xc1],
  Lang1: [0x15],
  Lang2: [0x19],
  Convert: [0x1c],
  NonConvert: [0x1d],
  Help: [0x2f],
  AudioVolumeMute: [0xad, 1],
  AudioVolumeDown: [0xae, 1],
  AudioVolumeUp: [0xaf, 1],
  MediaTrackNext: [0xb0, 1],
  MediaTrackPrevious: [0xb1, 1],
  MediaStop: [0xb2, 1],
  MediaPlayPause: [0xb3, 1],
  IntlYen: [0xdc, 1],
  KanaMode: [0x15, 1],
  Lang4: [0xf2],
  BrowserBack: [0xa6, 1],
  BrowserForward: [0xa7, 1],
  BrowserRefresh: [0xa8, 1],
  BrowserFavorites: [0xab, 1],
  BrowserHome: [0xac, 1],
  LaunchMail: [0xb4, 1],
  MediaSelect: [0xb5, 1],
  LaunchApp1: [0xb6, 1],
  LaunchApp2: [0xb7, 1],
  Sleep: [0x5f, 1],
  OSLeft: [0x5b, 1],
  OSRight: [0x5c, 1],
};

export const MODIFIERS = new Set([
  "ShiftLeft", "ShiftRight", "ControlLeft", "ControlRight", "AltLeft", "AltRight", "MetaLeft", "MetaRight", "OSLeft",
  "OSRight",
]);

const platform = navigator.userAgentData?.platform ?? navigator.platform ?? "";
export const onMac = /^mac|^iP/i.test(platform);
export const onWindows = /^win/i.test(platform);

const SWAP = { AltLeft: "MetaLeft", MetaLeft: "AltLeft", OSLeft: "AltLeft", AltRight: "MetaRight", MetaRight: "AltRight", OSRight: "AltRight" };

/** The virtual key of a code; with `swap`, Alt is Command and Super is Option. Undefined for keys no machine has. */
export function lookUp(code, swap) {
  return KEYS[(swap && SWAP[code]) || code];
}

const SHIFTED = {
  Backquote: "~", Digit1: "!", Digit2: "@", Digit3: "#", Digit4: "$", Digit5: "%", Digit6: "^", Digit7: "&", Digit8: "*",
  Digit9: "(", Digit0: ")", Minus: "_", Equal: "+", BracketLeft: "{", BracketRight: "}", Backslash: "|", Semicolon: ":",
  Quote: '"', Comma: "<", Period: ">", Slash: "?",
};

const PLAIN = {
  Backquote: "`", Minus: "-", Equal: "=", BracketLeft: "[", BracketRight: "]", Backslash: "\\", Semicolon: ";", Quote: "'",
  Comma: ",", Period: ".", Slash: "/",
};
const CODES = new Map([...Object.entries(SHIFTED), ...Object.entries(PLAIN)].map(([code, char]) => [char, code]));

function codeOf(char) {
  if (/^[a-z]$/i.test(char)) return `Key${char.toUpperCase()}`;
  return /^\d$/.test(char) ? `Digit${char}` : CODES.get(char);
}

/** The codes of the keys that make a character on a US keyboard, in the order in which they go down; undefined: none do. */
export function keysOf(character) {
  const code = { " ": "Space", "\n": "Enter", "\t": "Tab" }[character] ?? codeOf(character);
  if (!code) return undefined;
  return SHIFTED[code] === character || /^[A-Z]$/.test(character) ? ["ShiftLeft", code] : [code];
}

/**
 * What a key event sends when characters are sent: {text}, {code} of the key that has its character printed on it on a US
 * keyboard (a shortcut), {nothing} (it only helps to make a character), or {}: the key itself.
 */
export function asWritten(event) {
  if (event.key === "AltGraph") return { nothing: true };
  if ([...event.key].length !== 1 || event.key === " ") return {};
  const writes = event.getModifierState("AltGraph") || (onMac && event.altKey);
  const shortcut = event.metaKey || (!writes && (event.ctrlKey || event.altKey)) || (onMac && event.ctrlKey);
  if (!shortcut) return { text: event.key };
  return event.code.startsWith("Numpad") ? {} : { code: codeOf(event.key) };
}

/**
 * Whether a key event claims a character that its key only makes with Shift, while no Shift is down: what a program that
 * types, or an on-screen keyboard, does. The character is what was meant; the physical key alone would be another.
 */
export function isShiftless(event) {
  if (event.shiftKey || event.ctrlKey || event.altKey || event.metaKey || event.getModifierState("CapsLock")) return false;
  const shifted = SHIFTED[event.code] ?? (/^Key[A-Z]$/.test(event.code) ? event.code[3] : undefined);
  return event.key === shifted;
}

const CONTROL = 0x11;
const OPTION = 0x12;
const COMMAND = [0x5b, 0x5c];

/**
 * Whether a key event makes a chord that pastes: "browser" if this browser pastes by it (and tells of that), "machine" if
 * only the machine will, whose `held` virtual keys it is for; undefined if neither does.
 */
export function pasteChord({ key, code, ctrlKey, metaKey, altKey, shiftKey, repeat }, held) {
  if (repeat) return undefined;
  if (key === "Insert" && shiftKey && !ctrlKey && !altKey && !metaKey && !onMac) return "browser";
  // Where the layout is not Latin, browsers go by the key's place.
  const isV = key.toLowerCase() === "v" || (code === "KeyV" && !/^[a-z]$/i.test(key));
  const browsers = onMac ? metaKey && !ctrlKey : ctrlKey && !metaKey;
  if (isV && browsers && !altKey) return "browser";
  const machines = (held.has(CONTROL) || COMMAND.some((vk) => held.has(vk))) && !held.has(OPTION);
  return code === "KeyV" && machines ? "machine" : undefined;
}
