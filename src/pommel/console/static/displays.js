// The displays menu: the machine's displays, their places, and the one that is shown. Uses no socket.

import { ALL_DISPLAYS } from "./codec.js";

const MAP_WIDTH = 200;
const MAP_HEIGHT = 90;
const SVG = "http://www.w3.org/2000/svg";

export class Displays {
  #ids = [];
  #selected = ALL_DISPLAYS;
  #places = new Map(); // id -> where it stands on the desktop

  /** `button` opens `menu`; `choose` is called with the id of the display that a person picked. */
  constructor(button, menu, { choose }) {
    Object.assign(this, { button, menu, choose });
    menu.addEventListener("click", (event) => this.#clicked(event.target.closest("[data-display]")));
    menu.addEventListener("keydown", (event) => this.#step(event));
  }

  /** What the machine lists (DisplayList). */
  list(ids, selected) {
    this.#ids = [...ids.filter((id) => id !== ALL_DISPLAYS), ...ids.filter((id) => id === ALL_DISPLAYS)];
    this.#selected = selected;
    this.#show();
  }

  /** Where they stand (DisplayInfo). */
  place(displays) {
    this.#places = new Map(displays.map((display) => [display.id, display]));
    this.#show();
  }

  /** What the machine shows from now on (SetDisplay). */
  select(id) {
    this.#selected = id;
    this.#show();
  }

  #clicked(row) {
    if (!row) return;
    this.menu.hidePopover();
    this.choose(Number(row.dataset.display));
  }

  #step(event) {
    const rows = [...this.menu.querySelectorAll("button")];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = rows.indexOf(document.activeElement);
    rows[(at + step + rows.length) % rows.length]?.focus();
  }

  #show() {
    const single = this.#ids.filter((id) => id !== ALL_DISPLAYS);
    this.button.hidden = single.length < 2;
    this.button.querySelector("span").textContent = this.#name(this.#selected);
    if (this.button.hidden && this.menu.matches(":popover-open")) this.menu.hidePopover();
    const focused = document.activeElement?.dataset?.display; // a menu that changes while it is open keeps its place
    this.menu.replaceChildren(this.#map(), ...this.#ids.map((id) => this.#row(id)));
    if (focused) this.menu.querySelector(`button[data-display="${focused}"]`)?.focus();
  }

  #name(id) {
    return id === ALL_DISPLAYS ? "All displays" : `Display ${id}`;
  }

  #row(id) {
    const row = Object.assign(document.createElement("button"), { type: "button" });
    row.dataset.display = id;
    row.setAttribute("aria-pressed", id === this.#selected);
    const place = this.#places.get(id);
    row.append(element("span", this.#name(id)), element("small", place ? `${place.width} × ${place.height}` : ""));
    return row;
  }

  /** A small drawing of the desktop: the numbered displays, those that are shown filled. */
  #map() {
    const places = this.#ids.map((id) => this.#places.get(id)).filter(Boolean);
    const map = drawn("svg", { class: "map", "aria-hidden": "true" });
    if (places.length === 0) return map;
    const left = Math.min(...places.map(({ x }) => x));
    const top = Math.min(...places.map(({ y }) => y));
    const width = Math.max(1, ...places.map((place) => place.x + place.width - left));
    const height = Math.max(1, ...places.map((place) => place.y + place.height - top));
    const scale = Math.min(MAP_WIDTH / width, MAP_HEIGHT / height);
    map.setAttribute("viewBox", `-1 -1 ${width * scale + 2} ${height * scale + 2}`);
    map.setAttribute("height", height * scale + 2);
    for (const place of places) map.append(...this.#drawing(place, left, top, scale));
    return map;
  }

  #drawing({ id, x, y, width, height }, left, top, scale) {
    const [px, py, pw, ph] = [(x - left) * scale, (y - top) * scale, width * scale, height * scale];
    const shown = this.#selected === ALL_DISPLAYS || this.#selected === id;
    const screen = drawn("rect", { x: px + 1, y: py + 1, width: pw - 2, height: ph - 2, rx: 3, class: shown ? "shown" : "" });
    const number = drawn("text", { x: px + pw / 2, y: py + ph / 2 });
    number.textContent = id;
    screen.dataset.display = id;
    return [screen, number];
  }
}

function drawn(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const element = (name, text) => Object.assign(document.createElement(name), { textContent: text });
