// Sends files to the machine in pieces, several files at once. After an interruption each goes on where the server has its
// end; a name gets its file only when that is whole. No DOM.

import { FilesError, begin, discard, finish, joined, makeFolder, sendPiece, spelled } from "./filesapi.js";

const AT_ONCE = 3;
const LEAST = 256 * 1024;
const MOST = 16 * 2 ** 20;
const QUICK_MS = 500; // a piece that is sent quicker than that may be larger
const SLOW_MS = 2000;
const AGAIN_MS = [500, 1000, 2000, 4000, 8000, 15000];
const RATE_OVER_MS = 5000;

/**
 * The uploads of one page. `changed` is called when their figures change, `arrived` when a file or a folder is there, and
 * `ask` decides on a name that is in use: it returns a promise of "replace" or "skip".
 */
export class Uploads {
  #waiting = []; // {file, folder, name}
  #working = 0;
  #cancel = new AbortController();
  #piece = 1024 * 1024;
  #asking = Promise.resolve();
  #woken = new Set();
  #sent = []; // {at, bytes}: what was sent in the last seconds

  constructor({ changed, arrived, ask }) {
    Object.assign(this, { changed, arrived, ask });
    this.#reset();
    window.addEventListener("online", () => this.goOn());
  }

  #reset() {
    Object.assign(this, { total: 0, done: 0, count: 0, finished: 0, skipped: 0, name: "", failed: [], held: "", running: false });
  }

  get busy() {
    return this.running;
  }

  /** Bytes per second, over the last seconds. */
  get rate() {
    const now = performance.now();
    this.#sent = this.#sent.filter(({ at }) => now - at < RATE_OVER_MS);
    const bytes = this.#sent.reduce((sum, one) => sum + one.bytes, 0);
    return this.#sent.length ? bytes / Math.max(1, (now - this.#sent[0].at) / 1000) : 0;
  }

  /** Send `files` ({file, path: its folders' names and its own}) and make `folders` (lists of names) in the folder `into`. */
  async add(into, files, folders) {
    if (!this.running) this.#reset();
    this.running = true;
    this.count += files.length;
    this.total += files.reduce((sum, { file }) => sum + file.size, 0);
    this.changed();
    this.#working += 1; // while folders are made, the rest is not the end
    const made = await this.#makeFolders(into, folders, this.#cancel.signal);
    this.#working -= 1;
    if (made) {
      for (const { file, path } of files) {
        const folder = path.slice(0, -1).reduce((at, name) => joined(at, spelled(name)), into);
        this.#waiting.push({ file, folder, name: path.at(-1) });
      }
    }
    for (let more = AT_ONCE - this.#working; more > 0; more -= 1) this.#work();
    if (this.#working === 0) this.#end();
  }

  /** Try again what failed. */
  async again() {
    const again = this.failed.filter(({ job }) => job);
    this.failed = [];
    for (const { job } of again) await this.add(job.folder, [{ file: job.file, path: [job.name] }], []);
  }

  /** Do not wait any longer for the machine, or for room on its disk. */
  goOn() {
    for (const wake of this.#woken) wake();
  }

  /** End all of it, and delete what is there of files that are not whole. */
  cancel() {
    this.#waiting = [];
    this.#cancel.abort();
    this.#cancel = new AbortController();
  }

  async #makeFolders(into, folders, signal) {
    for (const names of folders) {
      const path = names.reduce((at, name) => joined(at, spelled(name)), into);
      try {
        await this.#withPatience(() => makeFolder(path, true), signal);
      } catch (error) {
        if (signal.aborted) return false;
        this.failed.push({ name: names.join("/"), why: error.message });
        return false;
      }
    }
    if (folders.length) this.arrived(into);
    return true;
  }

  async #work() {
    if (this.#waiting.length === 0) return;
    this.#working += 1;
    const { signal } = this.#cancel;
    while (this.#waiting.length) {
      const job = this.#waiting.shift();
      await this.#one(job, signal);
      this.finished += 1;
      this.changed();
    }
    this.#working -= 1;
    if (this.#working === 0) this.#end();
  }

  #end() {
    this.running = false;
    this.held = "";
    this.changed();
  }

  async #one(job, signal) {
    const { file } = job;
    const upload = { path: joined(job.folder, spelled(job.name)), size: file.size, mtime: Math.max(0, Math.floor(file.lastModified / 1000)) };
    const before = { at: 0 }; // bytes of this file that count as done
    this.name = job.name;
    this.changed();
    try {
      await this.#whole(upload, file, before, signal);
      this.arrived(job.folder);
    } catch (error) {
      this.total -= file.size;
      this.done -= before.at;
      if (error instanceof Skipped) this.skipped += 1;
      else if (signal.aborted) await cleared(upload);
      else this.failed.push({ name: job.name, why: error.message, job });
    }
  }

  async #whole(upload, file, counted, signal) {
    let offset = await this.#begun(upload, signal);
    for (;;) {
      this.#count(counted, offset);
      if (offset < file.size || file.size === 0) {
        offset = await this.#send(upload, file, offset, signal);
        this.#count(counted, offset);
      }
      if (offset < file.size) continue;
      try {
        return await this.#withPatience(() => finish(upload, signal), signal);
      } catch (error) {
        if (error.told?.there) await this.#decide(upload, error);
        else if (error.told?.offset !== undefined && error.told.offset < file.size) offset = error.told.offset;
        else throw error;
      }
    }
  }

  async #begun(upload, signal) {
    for (;;) {
      try {
        return (await this.#withPatience(() => begin(upload, signal), signal)).offset;
      } catch (error) {
        if (!error.told?.there) throw error;
        await this.#decide(upload, error);
      }
    }
  }

  // One question at a time.
  async #decide(upload, { told }) {
    const asked = this.#asking.then(() => this.ask(upload.path, told.replaceable));
    this.#asking = asked.catch(() => {});
    if ((await asked) !== "replace") throw new Skipped();
    upload.replace = "yes";
  }

  /** Send one piece; return where to go on. */
  async #send(upload, file, offset, signal) {
    const body = file.slice(offset, offset + this.#piece);
    const began = performance.now();
    try {
      const told = await this.#withPatience(() => sendPiece(upload, offset, body, signal), signal, body);
      const took = performance.now() - began;
      if (took < QUICK_MS && body.size === this.#piece) this.#piece = Math.min(MOST, this.#piece * 2);
      if (took > SLOW_MS) this.#piece = Math.max(LEAST, this.#piece / 2);
      this.#sent.push({ at: performance.now(), bytes: body.size });
      return told.offset;
    } catch (error) {
      if (error.told?.offset !== undefined) return error.told.offset;
      throw error;
    }
  }

  #count(counted, offset) {
    this.done += offset - counted.at;
    counted.at = offset;
    this.changed();
  }

  /** Do it, again and again while the machine cannot be reached or its disk is full. `body` is what is read from this computer. */
  async #withPatience(work, signal, body) {
    for (let tries = 0; ; tries += 1) {
      signal.throwIfAborted();
      try {
        const told = await work();
        this.#hold("");
        return told;
      } catch (error) {
        const waits = error instanceof FilesError && (error.lost || error.told.full || error.told.busy);
        if (!waits) throw error;
        // The browser does not say which side failed.
        if (error.lost && body) await readable(body);
        if (!error.told.busy || tries > 2) this.#hold(error.message, error.told.full);
        await this.#rest(error.told.full ? Infinity : AGAIN_MS[Math.min(tries, AGAIN_MS.length - 1)], signal);
      }
    }
  }

  #hold(why, full = false) {
    if (this.held === why) return;
    this.held = why;
    this.full = full;
    this.changed();
  }

  #rest(ms, signal) {
    return new Promise((done) => {
      const wake = () => {
        clearTimeout(timer);
        this.#woken.delete(wake);
        signal.removeEventListener("abort", wake);
        done();
      };
      const timer = ms === Infinity ? 0 : setTimeout(wake, ms);
      this.#woken.add(wake);
      signal.addEventListener("abort", wake);
    });
  }
}

class Skipped extends Error {}

// The server may still be busy with the piece that was broken off.
async function cleared(upload) {
  for (const ms of AGAIN_MS) {
    try {
      return await discard(upload);
    } catch (error) {
      if (!error.told?.busy) return undefined;
      await new Promise((done) => setTimeout(done, ms));
    }
  }
  return undefined;
}

async function readable(body) {
  try {
    await body.slice(0, 1).arrayBuffer();
  } catch {
    throw new Error("This computer could not read it: it was changed, moved or deleted meanwhile.");
  }
}
