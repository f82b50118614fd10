// The rows of a folder: what is in it, in an order, with what can be done to each. Names are the machine's, so only text.

import { contentAddress, joined } from "./filesapi.js";
import { sizeOf } from "./downloads.js";

const FIRST = 1000; // rows that are made at once; the rest on request
const names = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
const dates = new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "short" });
const SHAPES = {
  folder: "M1.5 4A1.5 1.5 0 0 1 3 2.5h3l1.5 2H13A1.5 1.5 0 0 1 14.5 6v6a1.5 1.5 0 0 1-1.5 1.5H3A1.5 1.5 0 0 1 1.5 12z",
  file: "M4 1.5h5L12.5 5v9.5h-8.5zM9 1.5V5h3.5",
  other: "M4 1.5h8v13H4zM7 11h2",
  rename: "M10.5 2.5l3 3-8 8-3.5.5.5-3.5z",
  download: "M8 2v8m-3-3 3 3 3-3M3 13.5h10",
  remove: "M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.5 9h6l.5-9",
};
const SVG = "http://www.w3.org/2000/svg";

export const isFolder = ({ kind, leads }) => kind === "folder" || leads === "folder";
const isFile = ({ kind, leads }) => kind === "file" || leads === "file";

const ORDERS = {
  name: (one, other) => names.compare(one.shown, other.shown),
  size: (one, other) => one.size - other.size,
  mtime: (one, other) => one.mtime - other.mtime,
};

/** The entries in an order: folders first. */
export function ordered(entries, { by, down }, hidden) {
  const sign = down ? -1 : 1;
  const kept = hidden ? [...entries] : entries.filter(({ shown }) => !shown.startsWith("."));
  return kept.sort((one, other) => isFolder(other) - isFolder(one) || sign * ORDERS[by](one, other) || ORDERS.name(one, other));
}

/**
 * Fill `place` (a tbody) with rows. `does` has open(entry), download(entry), rename(entry), remove([entry]), chose().
 */
export function fill(place, folder, entries, does) {
  place.replaceChildren(...entries.slice(0, FIRST).map((entry) => row(folder, entry, does)));
  if (entries.length <= FIRST) return;
  const more = element("button", { type: "button", textContent: `Show all ${entries.length}` });
  const cell = element("td", { colSpan: 5 });
  const last = element("tr");
  more.onclick = () => last.replaceWith(...entries.slice(FIRST).map((entry) => row(folder, entry, does)));
  cell.append(more);
  last.append(cell);
  place.append(last);
}

function row(folder, entry, work) {
  const line = element("tr");
  line.entry = entry;
  const check = element("input", { type: "checkbox", onchange: () => work.chose() });
  check.setAttribute("aria-label", `Select ${entry.shown}`);
  const named = element("td", { className: "name" });
  named.append(icon(isFolder(entry) ? "folder" : isFile(entry) ? "file" : "other"), nameOf(folder, entry, work));
  if (entry.kind === "link") named.append(element("small", { textContent: entry.leads ? "link" : "link to nothing" }));
  const size = element("td", { className: "size", textContent: isFile(entry) ? sizeOf(entry.size) : "" });
  const date = element("td", { className: "date", textContent: entry.mtime ? dates.format(entry.mtime * 1000) : "" });
  const does = cellOf(...actions(entry, work));
  does.className = "does";
  line.append(cellOf(check), named, size, date, does);
  line.onkeydown = (event) => pressed(event, entry, work);
  return line;
}

function nameOf(folder, entry, does) {
  if (!isFolder(entry) && !isFile(entry)) return element("bdi", { textContent: entry.shown });
  const label = element("bdi", { textContent: entry.shown });
  const address = contentAddress(joined(folder, entry.name));
  const made = isFolder(entry)
    ? element("button", { type: "button", onclick: () => does.open(entry) })
    : element("a", { href: address, download: entry.shown });
  if (!isFolder(entry)) {
    made.onclick = (event) => {
      event.preventDefault();
      does.download(entry);
    };
  }
  made.append(label);
  return made;
}

function actions(entry, does) {
  const made = [
    action("rename", `Rename ${entry.shown}`, () => does.rename(entry)),
    action("remove", `Delete ${entry.shown}`, () => does.remove([entry])),
  ];
  if (isFolder(entry) || isFile(entry)) made.unshift(action("download", `Download ${entry.shown}`, () => does.download(entry)));
  return made;
}

function action(shape, title, onclick) {
  const button = element("button", { type: "button", title, onclick });
  button.setAttribute("aria-label", title);
  button.append(icon(shape));
  return button;
}

function pressed(event, entry, does) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const work = { F2: () => does.rename(entry), Delete: () => does.remove([entry]) }[event.key];
  if (!work) return;
  event.preventDefault();
  work();
}

function icon(shape) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", SHAPES[shape]);
  svg.append(path);
  return svg;
}

function cellOf(...parts) {
  const cell = element("td");
  cell.append(...parts);
  return cell;
}

const element = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);
