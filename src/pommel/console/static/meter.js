// The quality of the connection: a sign in the bar, and figures behind it. Uses no socket.

export class Meter {
  constructor(button, menu) {
    Object.assign(this, { button, menu });
  }

  /** Show figures of a Pulse (null: there is no connection) with `more` texts by name, or nothing while none are known. */
  show(figures, { quality, screen }) {
    const known = figures !== null && figures.rtt !== null;
    this.button.hidden = !known;
    if (!known) return this.menu.hidePopover();
    const { rtt, fps, bytes } = figures;
    this.button.textContent = `${Math.max(1, Math.round(rtt))} ms`;
    if (!this.menu.matches(":popover-open")) return undefined;
    const rows = {
      "Round trip": `${rtt.toFixed(rtt < 10 ? 1 : 0)} ms`,
      Pictures: `${fps.toFixed(fps < 10 ? 1 : 0)} a second`,
      Received: bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB/s` : `${(bytes / 1e6).toFixed(1)} MB/s`,
      Quality: quality,
      Screen: screen,
    };
    const cell = (kind, textContent) => Object.assign(document.createElement(kind), { textContent });
    const cells = Object.entries(rows).flatMap(([name, value]) => [cell("dt", name), cell("dd", value)]);
    this.menu.querySelector("dl").replaceChildren(...cells);
    return undefined;
  }
}
