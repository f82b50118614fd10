// The button for the size of the picture: it first ends a zoom, then goes from one mode to the next.

import { View } from "./view.js";

const NAMES = { fit: "Fit", fill: "Fill", actual: "1:1" };

export class SizeButton {
  /** `chosen` is told the mode that a person chooses, to have it remembered. */
  constructor(button, view, { mode, chosen }) {
    Object.assign(this, { button, view, chosen });
    this.name = button.querySelector("span");
    button.onclick = () => this.#next();
    view.mode = mode;
  }

  /** Say how large it is now. */
  show() {
    const { shape, zoomed, scale } = this.view;
    this.button.setAttribute("aria-pressed", shape === "fit" && !zoomed);
    const name = zoomed ? `${Math.round(scale * window.devicePixelRatio * 100)} %` : NAMES[shape];
    if (this.name.textContent !== name) this.name.textContent = name; // the bar is measured anew for each change
  }

  #next() {
    const { shape, zoomed, mode } = this.view;
    const next = View.shapes[(View.shapes.indexOf(shape) + 1) % View.shapes.length];
    this.view.mode = zoomed ? mode : next;
    if (!zoomed) this.chosen(next);
  }
}
