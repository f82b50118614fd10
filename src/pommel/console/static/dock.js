// The place beside or under the picture for panels: one is shown at a time, and the others keep what they have.
// A panel has the keyboard while the focus is in it; nothing that is pressed there goes to what the picture shows.

export class Dock {
  #shown = null;
  #panels = [];

  /** `place` holds the panels; `leave` gives the focus back to the screen. */
  constructor(place, { leave }) {
    Object.assign(this, { place, leave });
  }

  /**
   * Add a panel: `button` opens and closes it, `place` (in the dock) is a section with a `.close` button. `opened` is called
   * each time that it is shown, `closed` each time that it goes, `focus` when it is to take the keyboard.
   */
  add(panel) {
    const { button, place } = panel;
    button.hidden = false;
    button.setAttribute("aria-controls", place.id);
    this.#panels.push(panel);
    this.#mark();
    button.onclick = () => (this.#shown === panel ? this.close() : this.open(panel));
    place.querySelector(".close").onclick = () => this.close();
    place.addEventListener("keydown", (event) => this.#key(event));
  }

  open(panel) {
    if (this.#shown !== panel) this.#show(panel);
    panel.focus();
  }

  close() {
    const focused = this.place.contains(document.activeElement) || document.activeElement === this.#shown?.button;
    this.#show(null);
    if (focused) this.leave();
  }

  #show(panel) {
    const before = this.#shown;
    this.#shown = panel;
    for (const { place } of this.#panels) place.hidden = place !== panel?.place;
    this.place.hidden = panel === null;
    this.#mark();
    before?.closed();
    panel?.opened();
  }

  #mark() {
    for (const panel of this.#panels) panel.button.setAttribute("aria-expanded", panel === this.#shown);
  }

  // What a panel uses itself (a terminal, a field that is being filled) it does not let through to here.
  #key(event) {
    if (event.key !== "Escape" || event.defaultPrevented || event.isComposing) return;
    event.preventDefault();
    this.close();
  }
}
