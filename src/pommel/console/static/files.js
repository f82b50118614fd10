// The panel with the machine's files: browse, send files and folders there, get them, rename, delete, make folders.

import { ask } from "./asking.js";
import { sizeOf } from "./downloads.js";
import { chosen, dropped } from "./dropped.js";
import { fill, isFolder, ordered } from "./filerows.js";
import { check, contentAddress, joined, list, makeFolder, parentOf, pathTyped, remove, rename, spelled } from "./filesapi.js";
import { remember, settings } from "./settings.js";
import { Uploads } from "./uploads.js";

const NOUN = document.body.dataset.noun; // "machine" or "session", as the server tells
const SOON_MS = 300;

export class Files {
  #folder = null; // {path, shown, entries, more, space}
  #order = { by: "name", down: false };
  #listing = new AbortController();
  #opening = Promise.resolve();
  #soon = 0;
  #forAll = ""; // what was decided for all names that are in use

  /** `place` is the panel; `say` takes a line for people. */
  constructor(place, { say }) {
    Object.assign(this, { place, say });
    this.uploads = new Uploads({
      changed: () => this.#showUploads(),
      arrived: (folder) => this.#changed(folder),
      ask: (path, replaceable) => this.#askReplace(path, replaceable),
    });
    this.#part("hidden").checked = Boolean(settings.hidden);
    this.#wire();
  }

  get busy() {
    return this.uploads.busy;
  }

  opened() {
    this.#opening = this.#open(this.#folder?.path ?? "~");
  }

  closed() {
    this.#listing.abort();
  }

  focus() {
    this.#part("path").focus();
  }

  /** Files were dropped on the page, and the panel has been opened for them. */
  async drop(dataTransfer) {
    const found = dropped(dataTransfer);
    await this.#opening;
    try {
      await this.#send(await found);
    } catch (error) {
      this.say(`What was dropped could not be read: ${error.message}`);
    }
  }

  #part(name) {
    return this.place.querySelector(`#files-${name}`);
  }

  #wire() {
    const on = (name, work) => (this.#part(name).onclick = work);
    on("home", () => this.#open("~"));
    on("up", () => this.#folder && this.#open(parentOf(this.#folder.path)));
    on("reload", () => this.#open(this.#folder?.path ?? "~"));
    on("new", () => this.#makeFolder());
    on("send", () => this.#part("choose").click());
    on("send-folder", () => this.#part("choose-folder").click());
    on("get-all", () => this.#downloadAll(this.#selected));
    on("rename", () => this.#rename(this.#selected[0]));
    on("remove-all", () => this.#remove(this.#selected));
    on("cancel", () => this.uploads.cancel());
    on("again", () => (this.uploads.busy ? this.uploads.goOn() : this.uploads.again()));
    on("all", () => this.#selectAll(this.#part("all").checked));
    for (const name of ["choose", "choose-folder"]) {
      this.#part(name).onchange = ({ target }) => {
        this.#send(chosen(target.files));
        target.value = "";
      };
    }
    this.#part("form").onsubmit = (event) => {
      event.preventDefault();
      this.#open(pathTyped(this.#part("path").value, this.#folder?.path ?? "~"));
    };
    this.#part("hidden").onchange = ({ target }) => {
      remember({ hidden: target.checked });
      this.#show();
    };
    for (const button of this.place.querySelectorAll("[data-by]")) button.onclick = () => this.#sort(button.dataset.by);
  }

  // --- folders ---

  async #open(path) {
    this.#listing.abort();
    this.#listing = new AbortController();
    const { signal } = this.#listing;
    this.place.setAttribute("aria-busy", true);
    try {
      const found = await list(path, signal);
      this.#tell("");
      this.#folder = found;
      this.#part("path").value = found.shown;
      this.#show();
    } catch (error) {
      if (error.name !== "AbortError") this.#tell(error.message);
    } finally {
      if (!signal.aborted) this.place.removeAttribute("aria-busy");
    }
  }

  #changed(path) {
    if (path !== this.#folder?.path) return;
    clearTimeout(this.#soon); // many files arrive one after the other
    this.#soon = setTimeout(() => this.#folder?.path === path && !this.place.hidden && this.#open(path), SOON_MS);
  }

  #show() {
    if (!this.#folder) return;
    const { path, entries, more, space } = this.#folder;
    const chosenNames = new Set(this.#selected.map(({ name }) => name));
    const rows = ordered(entries, this.#order, this.#part("hidden").checked);
    fill(this.#part("rows"), path, rows, {
      open: (entry) => this.#open(joined(path, entry.name)),
      download: (entry) => this.#download(entry),
      rename: (entry) => this.#rename(entry),
      remove: (some) => this.#remove(some),
      chose: () => this.#showSelected(),
    });
    for (const row of this.#rows) row.querySelector("input").checked = chosenNames.has(row.entry.name);
    this.#part("up").disabled = path === "/";
    const hidden = entries.length - rows.length;
    const counts = [rows.length === 1 ? "1 item" : `${rows.length} items`];
    if (more) counts.push("there are more, which are not shown");
    if (hidden) counts.push(`${hidden} hidden`);
    if (space) counts.push(`${sizeOf(space.free)} free of ${sizeOf(space.total)}`);
    this.#part("facts").textContent = counts.join(" · ");
    this.#part("empty").hidden = rows.length > 0;
    for (const button of this.place.querySelectorAll("[data-by]")) {
      const sorts = button.dataset.by === this.#order.by;
      button.closest("th").setAttribute("aria-sort", sorts ? (this.#order.down ? "descending" : "ascending") : "none");
    }
    this.#showSelected();
  }

  #sort(by) {
    this.#order = { by, down: this.#order.by === by ? !this.#order.down : by !== "name" };
    this.#show();
  }

  #tell(text) {
    this.#part("trouble").textContent = text;
    this.#part("trouble").hidden = !text;
  }

  // --- what is selected ---

  get #rows() {
    return [...this.#part("rows").rows].filter((row) => row.entry);
  }

  get #selected() {
    return this.#rows.filter((row) => row.querySelector("input").checked).map((row) => row.entry);
  }

  #selectAll(checked) {
    for (const row of this.#rows) row.querySelector("input").checked = checked;
    this.#showSelected();
  }

  #showSelected() {
    const count = this.#selected.length;
    this.#part("selected").hidden = count === 0;
    this.#part("selected-count").textContent = count === 1 ? "1 selected" : `${count} selected`;
    this.#part("rename").hidden = count !== 1;
    this.#part("all").checked = count > 0 && count === this.#rows.length;
    this.#part("all").indeterminate = count > 0 && count < this.#rows.length;
  }

  // --- what is done to them ---

  async #do(work) {
    const { path } = this.#folder;
    this.place.setAttribute("aria-busy", true);
    try {
      await work(path);
      await this.#open(path);
    } catch (error) {
      await this.#open(path);
      this.#tell(error.message);
    }
  }

  async #makeFolder() {
    if (!this.#folder) return;
    const buttons = [{ value: "make", text: "Make", primary: true }];
    const { value, text } = await ask({ title: "New folder", field: { label: "Name", value: "" }, buttons });
    if (value === "make" && this.#isName(text)) await this.#do((path) => makeFolder(joined(path, spelled(text))));
  }

  async #rename(entry) {
    const buttons = [{ value: "rename", text: "Rename", primary: true }];
    const { value, text } = await ask({ title: `Rename ${entry.shown}`, field: { label: "New name", value: entry.shown }, buttons });
    if (value !== "rename" || text === entry.shown || !this.#isName(text)) return;
    await this.#do((path) => rename(joined(path, entry.name), joined(path, spelled(text))));
  }

  #isName(text) {
    const fits = text !== "" && text !== "." && text !== ".." && !text.includes("/");
    if (!fits) this.#tell("A name is not empty, not . or .., and has no slash.");
    return fits;
  }

  async #remove(entries) {
    if (entries.length === 0) return;
    const [{ shown }] = entries;
    const what = entries.length === 1 ? shown : `these ${entries.length} entries`;
    const inside = entries.some(({ kind }) => kind === "folder") ? " A folder is deleted with all that is in it." : "";
    const { value } = await ask({
      title: `Delete ${what}?`,
      text: `This cannot be undone: the ${NOUN} has no copy of it in its trash.${inside}`,
      buttons: [{ value: "delete", text: "Delete", primary: true }],
    });
    if (value !== "delete") return;
    await this.#do(async (path) => {
      for (const { name } of entries) await remove(joined(path, name));
    });
  }

  async #downloadAll(entries) {
    for (const entry of entries) await this.#download(entry);
  }

  // The server is asked first, because a browser tells nothing of why a download failed.
  async #download(entry) {
    const path = joined(this.#folder.path, entry.name);
    if (isFolder(entry)) this.say(`Looking through ${entry.shown}…`);
    try {
      await check(path);
      this.#tell("");
      const name = isFolder(entry) ? `${entry.shown}.tar` : entry.shown;
      Object.assign(document.createElement("a"), { href: contentAddress(path), download: name }).click();
    } catch (error) {
      this.#tell(error.message);
    }
  }

  // --- to the machine ---

  async #send({ files, folders }) {
    if (!this.#folder || (files.length === 0 && folders.length === 0)) return;
    if (!this.uploads.busy) this.#forAll = "";
    await this.uploads.add(this.#folder.path, files, folders);
  }

  async #askReplace(path, replaceable) {
    const name = decoded(path.slice(path.lastIndexOf("/") + 1));
    if (!replaceable) {
      await ask({ title: `${name} is not sent`, text: `There is a folder of this name in the ${NOUN}.`, buttons: [{ value: "skip", text: "Skip", primary: true }] });
      return "skip";
    }
    if (this.#forAll) return this.#forAll;
    const { value, all } = await ask({
      title: `Replace ${name}?`,
      text: `There is a file of this name in ${decoded(parentOf(path))}.`,
      buttons: [
        { value: "skip", text: "Skip" },
        { value: "replace", text: "Replace", primary: true },
      ],
      all: "For all of these files",
    });
    if (all && value) this.#forAll = value;
    if (!value) this.uploads.cancel();
    return value || "skip";
  }

  #showUploads() {
    const { running, total, done, count, finished, skipped, name, failed, held } = this.uploads;
    this.#part("uploads").hidden = !running && failed.length === 0;
    const bar = this.#part("progress");
    bar.hidden = !running;
    bar.value = total ? done / total : 0;
    this.#part("cancel").hidden = !running;
    const again = this.#part("again");
    again.hidden = running ? !held : !failed.some(({ job }) => job);
    again.textContent = running ? "Try now" : "Try again";
    this.#part("upload-name").textContent = running ? `Sending ${name} (${Math.min(finished + 1, count)} of ${count})` : "";
    this.#part("upload-facts").textContent = running ? this.#speed(done, total) : "";
    this.#part("held").textContent = held ? `${held} The rest is sent as soon as it can be.` : "";
    const lines = failed.slice(0, 5).map((one) => `${one.name}: ${one.why}`);
    if (failed.length > lines.length) lines.push(`and ${failed.length - lines.length} more`);
    this.#part("failed").textContent = lines.length ? `Not sent:\n${lines.join("\n")}` : "";
    if (running || !skipped) return;
    this.uploads.skipped = 0;
    this.say(skipped === 1 ? "1 file was skipped." : `${skipped} files were skipped.`);
  }

  #speed(done, total) {
    const { rate } = this.uploads;
    const told = [`${sizeOf(done)} of ${sizeOf(total)}`];
    if (rate > 0) {
      const seconds = Math.ceil((total - done) / rate);
      told.push(`${sizeOf(rate)}/s`, seconds < 90 ? `${seconds} s left` : `${Math.ceil(seconds / 60)} min left`);
    }
    return told.join(" · ");
  }
}

// For people only: what is not text stays as it is spelled.
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
