// Questions to the person at this page, notices, and the line that names other viewers. The dialog takes no focus, and
// "allow" does not work at once, because a person who types or clicks in the machine must not answer by accident.

const UNREAD_MS = 700;

export class Audience {
  #shown = null;
  #asked = []; // questions and notices that wait for an answer or to be closed, the oldest first; that one is shown
  #timer = 0;

  constructor(place, bar, { say, leave }) {
    Object.assign(this, { place, bar, say, leave });
    const on = (name, action) => (this.#part(name).onclick = action);
    on("allow", () => this.#answer(true));
    on("refuse", () => this.#answer(false));
    on("close", () => this.#drop(this.#asked[0]));
  }

  /** A connection begins: what is still asked is told again. */
  begin() {
    this.ended();
  }

  /** The connection is gone, and with it whoever asked. Notices stay until they are closed. */
  ended() {
    this.#asked = this.#asked.filter((one) => one.notice);
    this.#share(null);
    this.#show();
  }

  /** Take a control text, if it is for us. */
  told(said) {
    if (said.type === "question") {
      this.#drop(this.#asked.find(({ id }) => id === said.id));
      this.#add({ ...said, until: performance.now() + said.left_s * 1000 });
    } else if (said.type === "answered") {
      this.#drop(this.#asked.find(({ id }) => id === said.id));
    } else if (said.type === "notice") {
      if (said.must_close) this.#add({ ...said, notice: true });
      else this.say([said.title, said.text].filter(Boolean).join(": "));
    } else if (said.type === "bar") {
      this.#share(said.text);
    }
  }

  #part(name) {
    return this.place.querySelector(`#${this.place.id}-${name}`);
  }

  #share(text) {
    this.bar.hidden = !text;
    this.bar.textContent = text ?? "";
  }

  #add(one) {
    this.#asked.push(one);
    this.#show();
  }

  #drop(one) {
    if (!one) return;
    const focused = this.place.contains(document.activeElement);
    this.#asked = this.#asked.filter((other) => other !== one);
    this.#show();
    if (focused) this.leave();
  }

  #rest() {
    this.#part("allow").disabled = true;
    setTimeout(() => (this.#part("allow").disabled = false), UNREAD_MS);
  }

  async #answer(allowed) {
    const one = this.#asked[0];
    this.#drop(one);
    const body = JSON.stringify({ id: one.id, allowed });
    const headers = { "Content-Type": "application/json" };
    try {
      const answer = await fetch("api/answer", { method: "POST", headers, body });
      if (!answer.ok) throw new Error(answer.statusText);
      if (!(await answer.json()).taken) this.say("This question is no longer open");
    } catch {
      this.say("The answer could not be sent");
    }
  }

  #show() {
    clearInterval(this.#timer);
    const [one] = this.#asked;
    this.place.hidden = !one;
    if (one && one !== this.#shown) this.#rest();
    this.#shown = one ?? null;
    if (!one) return;
    this.#part("title").textContent = one.title;
    this.#part("text").textContent = one.text;
    for (const name of ["allow", "refuse", "left"]) this.#part(name).hidden = Boolean(one.notice);
    this.#part("close").hidden = !one.notice;
    if (one.notice) return;
    const tick = () => {
      const left = Math.max(0, Math.ceil((one.until - performance.now()) / 1000));
      this.#part("left").textContent = `${left} s to answer`;
    };
    tick();
    this.#timer = setInterval(tick, 1000);
  }
}
