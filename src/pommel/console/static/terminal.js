// The panel of terminals: a tab for each, all of them for as long as the page is open.

import { Shell, loadXterm } from "./shell.js";

export class TerminalPanel {
  #tabs = []; // {button, place, note, shell}
  #current = null;
  #number = 0;

  /** `place` is the panel, `dock` is where it is shown; `say` shows a line for a while. */
  constructor(button, place, dock, { say }) {
    Object.assign(this, { button, place, dock, say });
    this.panel = { button, place, opened: () => this.#opened(), closed: () => {}, focus: () => this.#focus() };
    dock.add(this.panel);
    this.#part("new").onclick = () => this.#open();
    this.#part("end").onclick = () => this.#end(this.#current);
    this.#part("tabs").onkeydown = (event) => this.#key(event);
  }

  #part(name) {
    return this.place.querySelector(`.${name}`);
  }

  #opened() {
    if (this.#tabs.length === 0) this.#open();
    else this.#current.shell?.refit();
  }

  #focus() {
    const { shell, note } = this.#current ?? {};
    if (shell?.open) shell.focus();
    else (note && !note.hidden ? note.querySelector("button") : this.#part("new")).focus();
  }

  async #open() {
    const tab = this.#add();
    this.#select(tab);
    let xterm;
    try {
      xterm = await loadXterm();
    } catch {
      return this.#tell(tab, "The terminal's program could not be loaded. Reload the page to try again.");
    }
    if (this.#tabs.includes(tab)) this.#start(tab, xterm);
    return undefined;
  }

  #start(tab, xterm) {
    this.#select(tab); // so that its size is known
    tab.note.hidden = true;
    tab.shell?.dispose();
    tab.shell = new Shell(xterm, tab.screen, {
      say: this.say,
      leave: () => this.button.focus(),
      ended: (reason) => this.#tell(tab, reason),
    });
    if (!this.place.hidden) this.#focus();
  }

  #add() {
    const number = ++this.#number;
    const button = element("button", { type: "button", textContent: number, id: `tab-${number}` });
    const [place, screen, note] = ["div", "div", "div"].map((name) => element(name));
    const again = element("button", { type: "button", textContent: "Open again" });
    const tab = { button, place, screen, note, shell: null };
    attributes(button, { role: "tab", "aria-controls": `terminal-${number}`, "aria-label": `Terminal ${number}` });
    attributes(place, { role: "tabpanel", id: `terminal-${number}`, "aria-labelledby": button.id });
    note.className = "over";
    note.hidden = true;
    note.append(element("p", { role: "status" }), again);
    screen.className = "screen";
    place.append(screen, note);
    button.onclick = () => {
      this.#select(tab);
      this.#focus();
    };
    again.onclick = async () => this.#start(tab, await loadXterm());
    this.#tabs.push(tab);
    this.#part("tabs").append(button);
    this.#part("terminals").append(place);
    return tab;
  }

  #select(tab) {
    this.#current = tab;
    for (const one of this.#tabs) {
      one.place.hidden = one !== tab;
      attributes(one.button, { "aria-selected": one === tab, tabindex: one === tab ? 0 : -1 });
    }
    tab.shell?.refit();
  }

  #tell(tab, reason) {
    const focused = tab.place.contains(document.activeElement);
    tab.note.querySelector("p").textContent = reason;
    tab.note.hidden = false;
    if (focused) this.#focus();
  }

  #end(tab) {
    const at = this.#tabs.indexOf(tab);
    tab.shell?.dispose();
    tab.button.remove();
    tab.place.remove();
    this.#tabs.splice(at, 1);
    this.#current = null;
    if (this.#tabs.length === 0) return this.dock.close();
    this.#select(this.#tabs[Math.max(at - 1, 0)]);
    return this.#focus();
  }

  // The keys of a list of tabs (WAI-ARIA Authoring Practices, "Tabs").
  #key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const count = this.#tabs.length;
    this.#select(this.#tabs[(this.#tabs.indexOf(this.#current) + step + count) % count]);
    this.#current.button.focus();
  }
}

const element = (name, values = {}) => Object.assign(document.createElement(name), values);

function attributes(target, values) {
  for (const [name, value] of Object.entries(values)) target.setAttribute(name, value);
}
