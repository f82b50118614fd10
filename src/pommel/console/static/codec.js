// MeshCentral's KVM commands in the browser: bytes to values and back. No DOM, no socket.
// The layouts are those of pommel.wire.codec; tests/wire/vectors.json holds both to the same bytes.

const JUMBO = 27;

/** CSS cursors by the number in MOUSE_CURSOR. */
export const CURSORS = [
  "default", "progress", "crosshair", "pointer", "help", "text", "no-drop", "move", "nesw-resize", "ns-resize",
  "nwse-resize", "ew-resize", "alias", "wait", "none", "not-allowed", "col-resize", "row-resize", "copy", "zoom-in",
  "zoom-out",
];

/** The button byte of MOUSE, by the bit a button has in PointerEvent.buttons. */
export const BUTTONS = { 1: { down: 0x02, up: 0x04 }, 2: { down: 0x08, up: 0x10 }, 4: { down: 0x20, up: 0x40 } };

/** The id of all displays together. */
export const ALL_DISPLAYS = 0xffff;

/** ABILITIES.bits: what this page can do, and what it can in some browsers only. */
const ACKNOWLEDGES = 1;
const TAKES_WEBP = 2;
const TAKES_PNG = 4;
const TAKES_VIDEO = 8;
const SHOWS_POINTER = 32;
const KEYS_BY_LEGEND = 64;
const ASKS_OF_MOUSE = 128;
const TAKES_MOVES = 256;
const ABILITIES = ACKNOWLEDGES | TAKES_WEBP | TAKES_PNG | SHOWS_POINTER | ASKS_OF_MOUSE | TAKES_MOVES;

/** MOUSE_KIND.bits. */
const HAS_SIDES = 1;
const RELATIVE = 2;

/** The most of POINTER's width and height. */
const POINTER_SIDE = 256;

export class WireError extends Error {}

/** Yield the commands in one WebSocket message (a Uint8Array); usually one. Throws WireError. */
export function* decode(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  while (at < bytes.length) {
    need(bytes.length - at >= 4, "a command is cut short");
    let type = view.getUint16(at);
    let size = view.getUint16(at + 2);
    if (type === JUMBO) {
      need(size === 8 && bytes.length - at >= 12, "a JUMBO has no header");
      size = view.getUint32(at + 4);
      at += 8;
      type = view.getUint16(at);
      need(type !== JUMBO, "a JUMBO in a JUMBO");
    }
    need(size >= 4 && at + size <= bytes.length, "a command's length is not true");
    yield command(type, bytes.subarray(at + 4, at + size));
    at += size;
  }
}

function command(type, body) {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const u16 = (index) => view.getUint16(2 * index);
  const reader = READERS[type];
  if (!reader) return { is: "Unknown", type, body };
  need(reader.fits(body.length), `a command of type ${type} cannot be ${body.length + 4} bytes long`);
  return reader.read(u16, body);
}

const exactly = (length) => (given) => given === length;
const any = () => true;

const READERS = {
  3: { fits: (n) => n >= 4, read: (u16, body) => ({ is: "Picture", x: u16(0), y: u16(1), image: body.subarray(4) }) },
  7: { fits: exactly(4), read: (u16) => ({ is: "Screen", width: u16(0), height: u16(1) }) },
  11: { fits: (n) => n >= 4 && n % 2 === 0, read: displayList },
  // An old build echoes one byte.
  12: { fits: (n) => n === 1 || n === 2, read: (u16, body) => ({ is: "SetDisplay", id: body.length === 2 ? u16(0) : body[0] }) },
  17: { fits: any, read: (_, body) => ({ is: "Message", text: latin1(body) }) },
  18: { fits: exactly(1), read: (_, body) => ({ is: "KeyState", bits: body[0] }) },
  65: { fits: any, read: (_, body) => ({ is: "Alert", text: latin1(body) }) },
  82: { fits: (n) => n % 10 === 0, read: (u16, body) => ({ is: "DisplayInfo", displays: displays(u16, body.length) }) },
  202: { fits: (n) => n >= 10, read: video },
  203: { fits: (n) => n >= 8, read: pointer },
  204: { fits: exactly(2), read: (u16) => ({ is: "MouseKind", sides: (u16(0) & HAS_SIDES) !== 0, relative: (u16(0) & RELATIVE) !== 0 }) },
  208: { fits: exactly(12), read: move },
  88: { fits: exactly(1), read: (_, body) => ({ is: "MouseCursor", shape: body[0] < CURSORS.length ? body[0] : 0 }) },
};

/** VIDEO.flags. */
const KEY_FRAME = 1;
const STREAM_BEGINS = 2;

function video(u16, body) {
  const [x, y, width, height] = [0, 1, 2, 3].map(u16);
  const [codec, flags] = body.subarray(8);
  const [key, begins] = [KEY_FRAME, STREAM_BEGINS].map((flag) => (flags & flag) !== 0);
  return { is: "Video", x, y, width, height, codec, key, begins, chunk: body.subarray(10) };
}

function pointer(u16, body) {
  const [width, height, hotX, hotY] = [0, 1, 2, 3].map(u16);
  need(Math.max(width, height) <= POINTER_SIDE, `a pointer of ${width}×${height} pixels is too large`);
  need(body.length === 8 + 4 * width * height, "a pointer's length is not true");
  return { is: "Pointer", width, height, hotX, hotY, rgba: body.subarray(8) };
}

function move(u16) {
  const [x, y, width, height, toX, toY] = [0, 1, 2, 3, 4, 5].map(u16);
  return { is: "Move", x, y, width, height, toX, toY };
}

function displayList(u16, body) {
  const count = u16(0);
  need(body.length === 4 + 2 * count, "a display list's length is not true");
  return { is: "DisplayList", ids: Array.from({ length: count }, (_, n) => u16(1 + n)), selected: u16(1 + count) };
}

function displays(u16, length) {
  return Array.from({ length: length / 10 }, (_, n) => {
    const [id, x, y, width, height] = [0, 1, 2, 3, 4].map((field) => u16(5 * n + field));
    return { id, x, y, width, height };
  });
}

const latin1 = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");

function need(truth, text) {
  if (!truth) throw new WireError(text);
}

// --- to the machine: each function gives one command's bytes ---

const framed = (type, ...body) => Uint8Array.of(type >> 8, type & 0xff, 0, body.length + 4, ...body);
const split = (value) => [(value >> 8) & 0xff, value & 0xff];

/** A negative wheel delta is a ones' complement: 0xffff - |delta|. */
const onesComplement = (delta) => (delta < 0 ? 0xffff + delta : delta);

export const encode = {
  key: (vk, down, extended) => framed(1, extended ? (down ? 4 : 3) : down ? 0 : 1, vk),
  keyUnicode: (unit, down) => framed(85, down ? 0 : 1, ...split(unit)),
  mouse: (x, y, button) => framed(2, 0, button, ...split(x), ...split(y)),
  wheel: (x, y, delta) => framed(2, 0, 0, ...split(x), ...split(y), ...split(onesComplement(delta))),
  turn: (x, y, up, right) => framed(205, ...split(x), ...split(y), ...split(up), ...split(right)),
  sideButton: (x, y, forward, down) => framed(206, ...split(x), ...split(y), forward ? 1 : 0, down ? 1 : 0),
  moveBy: (right, down, button) => framed(207, ...split(right), ...split(down), button),
  compression: (format, quality, scaling, timer) => framed(5, format, quality, ...split(scaling), ...split(timer)),
  refresh: () => framed(6),
  pause: (paused) => framed(8, paused ? 1 : 0),
  getDisplays: () => framed(11),
  setDisplay: (id) => framed(12, ...split(id)),
  abilities: (video, legends) =>
    framed(200, ...split(ABILITIES | (video ? TAKES_VIDEO : 0) | (legends ? KEYS_BY_LEGEND : 0))),
  shown: (count) => framed(201, ...split(count >>> 16), ...split(count)),
};
