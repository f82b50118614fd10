// The clipboard between this computer and the machine: into it with the paste chord, out of it with a button.
// The page asks the server for the machine's clipboard. It stores only the last clip that both sides had, and the last clip
// of this computer that it saw. `order.js` decides which side has the newer copy.

import { offer } from "./downloads.js";
import { onMac, onWindows } from "./keys.js";
import { Order } from "./order.js";

const NOUN = document.body.dataset.noun; // "machine" or "session", as the server tells
const ADDRESS = "api/clipboard";
const LIMIT_BYTES = 64 * 2 ** 20;
const PASTE_EVENT_MS = 300; // a browser that pastes tells so within this time of the chord, or not at all
const STRAY_MS = 2000;
const PATIENCE_MS = 15000;
const PATIENCE_MS_PER_MIB = 1000;
const SLOW_MS = 500;
const NEWS_MS = 400; // a copy chord's copy is told of within this time, or there was nothing to copy
const TOLD_MS = 300; // who comes to the page may be quicker than word of what they copied elsewhere
const OWN_MS = 1000; // the browser tells of what the page itself copied within this time
const TYPES = { text: "text/plain", html: "text/html", png: "image/png" };

export class Clipboard {
  #state = null; // the server's last word {available, why, copies}; null if it has no clipboard for us
  #shared = null; // the last clip that both sides had: form -> bytes
  #fetched = null; // the machine's clip that the browser did not take; a second click has it at hand
  #order = new Order("onclipboardchange" in (navigator.clipboard ?? {}) && (onMac || onWindows));
  #given = -1; // the number of the last clip that this page gave the machine
  #copyChordAt = -Infinity;
  #news = () => {}; // settles whoever waits for what a copy chord made
  #ownUntil = -Infinity; // until when a change of this computer's clipboard is this page's
  #cameAt = -Infinity;
  #giving = Promise.resolve();
  #expecting = null; // settles the paste event that is waited for
  #chordAt = -Infinity;
  #complaint = { text: "", at: -Infinity };

  /** `field` gets the paste events, `say` takes a line for people. */
  constructor(button, field, { say }) {
    Object.assign(this, { button, say });
    field.addEventListener("paste", (event) => this.#pasted(event));
    field.addEventListener("keydown", (event) => this.#watchForCopying(event));
    window.addEventListener("focus", () => {
      this.#cameAt = performance.now();
      this.#order.came();
    });
    navigator.clipboard?.addEventListener?.("clipboardchange", () => this.#changedHere());
  }

  /** A connection begins; whether it has a clipboard, the server tells. */
  begin() {
    this.#state = null;
    this.#shared = null;
    this.#fetched = null;
    this.#given = -1;
    this.#order.begin();
    this.#show();
  }

  /** The server told how the machine's clipboard is. */
  told({ available, why, copies }) {
    const more = this.#state && copies > this.#state.copies && copies !== this.#given;
    if (!available) this.#shared = null; // who knows what the machine has when it comes back
    this.#state = { available, why, copies };
    if (more) this.#copiedThere();
    this.#show();
  }

  #copiedThere() {
    this.#order.machineChanged();
    this.#shared = null;
    this.#fetched = null;
    this.#mark(true);
    this.#news();
    this.#look();
  }

  // --- when was copied what ---

  #changedHere() {
    const own = performance.now() < this.#ownUntil;
    this.#ownUntil = -Infinity;
    if (!own) this.#order.hereChanged();
  }

  // If the browser does not report changes, but lets this page read without asking: read it now, so that a later copy can
  // be distinguished from the present one.
  async #look() {
    if (!this.#order.looks || !document.hasFocus() || !(await mayRead())) return;
    const clip = await readBrowser().catch(() => null);
    if (clip) this.#order.saw(clip);
  }

  #watchForCopying(event) {
    const chord = (event.ctrlKey || event.metaKey) && !event.altKey;
    if (chord && ["c", "x", "insert"].includes(event.key.toLowerCase())) this.#copyChordAt = performance.now();
  }

  /** Wait for word of what the person has copied in the last moments, on either side. */
  async #settled() {
    const now = performance.now();
    const told = new Promise((done) => (this.#news = done));
    const there = this.#copyChordAt + NEWS_MS - now;
    if (there > 0) await Promise.race([told, rest(there)]);
    const here = this.#cameAt + TOLD_MS - performance.now();
    if (here > 0) await rest(here);
  }

  // --- into the machine ---

  /**
   * The paste chord was pressed; `browsers` if the browser makes a paste event of it. Returns undefined if the machine has
   * what it is to paste, or will not get it; else a promise that never fails.
   */
  paste(browsers) {
    if (!this.#state) return undefined;
    const sure = performance.now() > this.#cameAt + TOLD_MS;
    if (sure && this.#order.hereIsNewer === false) return undefined;
    if (!this.#state.available) return this.#complain(this.#state.why);
    return browsers ? this.#event() : this.#give(readBrowser());
  }

  #event() {
    this.#expecting?.();
    this.#chordAt = performance.now();
    return new Promise((done) => {
      this.#expecting = done;
      setTimeout(done, PASTE_EVENT_MS);
    });
  }

  #pasted(event) {
    // One that no chord was pressed for is the browser's own menu: its text is typed.
    if (performance.now() - this.#chordAt > STRAY_MS) return;
    event.preventDefault();
    this.#expecting?.(this.#give(clipOfEvent(event.clipboardData)));
    this.#expecting = null;
  }

  // One after the other, so that each knows what the machine has by then.
  #give(reading) {
    this.#giving = this.#giving.then(() => this.#giveNow(reading));
    return this.#giving;
  }

  async #giveNow(reading) {
    const slow = setTimeout(() => this.say(`Sending this computer's clipboard to the ${NOUN}…`), SLOW_MS);
    try {
      const clip = await reading;
      await this.#settled();
      if (clip.size === 0 || !this.#order.isNewer(clip)) return;
      if (!same(clip, this.#shared)) {
        this.#given = await put(clip, this.#state?.copies ?? 0);
        // Something may have been copied there between its coming and this answer.
        if (this.#state && this.#state.copies > this.#given) return;
      }
      this.#agreed(clip);
    } catch (error) {
      if (error instanceof Overtaken) return this.#order.machineChanged();
      this.say(`Not pasted from this computer: ${error.message}`);
    } finally {
      clearTimeout(slow);
    }
  }

  #agreed(clip) {
    this.#shared = clip;
    this.#order.agreed(clip);
    this.#mark(false);
  }

  // A person who uses the chord only in the machine does not need this message every time.
  #complain(why) {
    const { text, at } = this.#complaint;
    if (why === text && at > this.#cameAt) return;
    this.#complaint = { text: why, at: performance.now() };
    this.say(`Not pasted from this computer: ${why}`);
  }

  // --- out of it ---

  async copyOut() {
    if (!this.#state?.available) return this.say(this.#state?.why || `The ${NOUN}'s clipboard is not available now.`);
    try {
      const { clip, files } = this.#fetched ? { clip: this.#fetched } : await get();
      if (files) this.#mark(false);
      if (files) return await offer(files.files, (number) => `${ADDRESS}/files/${files.copies}/${number}`);
      return await this.#copyHere(clip);
    } catch (error) {
      return this.say(`Not copied: ${error.message}`);
    }
  }

  async #copyHere(clip) {
    if (!navigator.clipboard?.write) return this.say(NOT_SECURE);
    if (clip.size === 0) return this.say(`The ${NOUN}'s clipboard is empty.`);
    const { copies } = this.#state;
    this.#fetched = clip;
    this.#ownUntil = Infinity;
    await writeBrowser(clip).finally(() => (this.#ownUntil = performance.now() + OWN_MS));
    this.#fetched = null;
    if (this.#state?.copies === copies) this.#agreed(clip);
    return this.say(`Copied from the ${NOUN}: ${described(clip)}.`);
  }

  #mark(isNew) {
    this.button.toggleAttribute("data-new", isNew);
    this.#show();
  }

  #show() {
    const { button } = this;
    button.hidden = this.#state === null;
    if (button.hidden) return;
    const { available, why } = this.#state;
    const news = button.hasAttribute("data-new") ? `Copy from the ${NOUN}: it has new content` : "";
    button.setAttribute("aria-disabled", !available);
    button.title = available ? news || `Copy from the ${NOUN} to this computer's clipboard` : why;
  }
}

const NOT_SECURE =
  "The browser allows clipboard access only for pages from this computer or over https. Open this page as http://127.0.0.1, " +
  `through ssh -L if the ${NOUN} is on another computer.`;

// --- the server ---

class Overtaken extends Error {}

async function put(clip, seen) {
  const size = sizeOf(clip);
  if (size > LIMIT_BYTES) throw new Error(`it is ${mib(size)}, but the limit is ${mib(LIMIT_BYTES)}.`);
  const form = new FormData();
  // As files: the browser would change the line ends of strings.
  for (const [name, bytes] of clip) form.set(name, new Blob([bytes]), name);
  const answer = await asked("PUT", form, PATIENCE_MS + (size / 2 ** 20) * PATIENCE_MS_PER_MIB, `?seen=${seen}`);
  return Number(answer.headers.get("Pommel-Copies"));
}

async function get() {
  const answer = await asked("GET", undefined, PATIENCE_MS + (LIMIT_BYTES / 2 ** 20) * PATIENCE_MS_PER_MIB);
  const clip = new Map();
  if (answer.status === 204) return { clip };
  for (const [name, file] of await answer.formData()) clip.set(name, await bytesOf(file));
  const files = clip.get("files");
  return files ? { files: JSON.parse(new TextDecoder().decode(files)) } : { clip };
}

async function asked(method, body, patience, query = "") {
  let answer;
  try {
    answer = await fetch(ADDRESS + query, { method, body, cache: "no-store", signal: AbortSignal.timeout(patience) });
  } catch (error) {
    throw new Error(error.name === "TimeoutError" ? `the ${NOUN} did not answer in time.` : "the console does not answer.");
  }
  if (answer.ok) return answer;
  if (answer.status === 409) throw new Overtaken();
  const { error, hint } = await answer.json().catch(() => ({ error: `the console refused (${answer.status})` }));
  throw new Error(`${error}.${hint ? ` ${hint}` : ""}`);
}

// --- the browser ---

/** What a paste event brings. It must be read before the event is over, so only the decoding is waited for. */
function clipOfEvent(data) {
  const texts = ["text", "html"].map((name) => [name, data.getData(TYPES[name])]).filter(([, text]) => text);
  const image = [...data.files].find((file) => file.type.startsWith("image/"));
  const others = data.files.length > 0 && !image && texts.length === 0;
  return assembled(texts.map(([name, text]) => [name, new Blob([text])]), image, others);
}

async function mayRead() {
  const asked = navigator.permissions?.query({ name: "clipboard-read" });
  return (await asked?.catch(() => null))?.state === "granted";
}

async function readBrowser() {
  if (!navigator.clipboard?.read) throw new Error(NOT_SECURE);
  let items;
  try {
    items = await navigator.clipboard.read();
  } catch {
    throw new Error(`the browser did not let this page read its clipboard. ${onlyAsked()}`);
  }
  const found = new Map();
  for (const item of items) {
    for (const name of Object.keys(TYPES)) {
      if (item.types.includes(TYPES[name]) && !found.has(name)) found.set(name, await item.getType(TYPES[name]));
    }
  }
  const image = found.get("png");
  found.delete("png");
  return assembled([...found], image, false);
}

const onlyAsked = () => "Allow it beside the address, or paste with this browser's paste shortcut.";

async function assembled(texts, image, others) {
  if (others) throw new Error("this page cannot copy files.");
  const clip = new Map();
  for (const [name, blob] of texts) clip.set(name, await bytesOf(blob));
  if (image) clip.set("png", await bytesOf(image.type === TYPES.png ? image : await pngOf(image)));
  return clip;
}

async function pngOf(image) {
  const bitmap = await createImageBitmap(image).catch(() => {
    throw new Error("this browser does not support its image format.");
  });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return canvas.convertToBlob({ type: TYPES.png });
}

async function writeBrowser(clip) {
  const blobs = [...clip].map(([name, bytes]) => [TYPES[name], new Blob([bytes], { type: TYPES[name] })]);
  try {
    await navigator.clipboard.write([new ClipboardItem(Object.fromEntries(blobs))]);
  } catch (error) {
    if (error.name === "NotAllowedError") {
      throw new Error("the browser did not let this page write its clipboard. Click again; allow it beside the address if asked.");
    }
    throw new Error(`the browser does not accept it (${error.message}).`);
  }
}

// --- clips ---

const rest = (ms) => new Promise((done) => setTimeout(done, ms));
const bytesOf = async (blob) => new Uint8Array(await blob.arrayBuffer());
const sizeOf = (clip) => [...clip.values()].reduce((sum, bytes) => sum + bytes.length, 0);
const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MiB`;

function same(one, other) {
  if (one.size !== other?.size || sizeOf(one) !== sizeOf(other)) return false;
  return [...one].every(([name, bytes]) => other.get(name)?.every((byte, at) => byte === bytes[at]));
}

function described(clip) {
  if (clip.has("png") && !clip.has("text")) return `an image, ${mib(clip.get("png").length)}`;
  const count = [...new TextDecoder().decode(clip.get("text") ?? clip.get("html"))].length;
  return count === 1 ? "1 character" : `${count} characters`;
}
