// Full screen, and in it the shortcuts of browser and desktop (keyboard lock), if the browser passes them to the page.

const ALL = `All keys go to the ${document.body.dataset.noun}, including Esc, Alt+Tab and Ctrl+W. Hold Esc to leave full screen.`;
const SOME = "Press Esc to leave full screen. This browser does not pass on Ctrl+W, Alt+Tab and similar keys; send them with the Keys menu.";
const WHERE = "Chrome, Chromium and Edge pass them on";
const WHERE_SECURE = "Chrome, Chromium and Edge pass them on, over https or at localhost";

const some = () => `${SOME} ${window.isSecureContext ? WHERE : WHERE_SECURE}.`;
const canLock = () => Boolean(navigator.keyboard?.lock);

export class FullScreen {
  #locked = false;

  /** `looking` tells whether the page sends no keys at all; `help` is the line of the menu that says what is to be had. */
  constructor(button, help, { looking, say, focus }) {
    Object.assign(this, { button, looking, say, focus });
    help.textContent = `In full screen: ${canLock() ? ALL : some()}`;
    button.onclick = () => this.toggle().catch(() => say("The browser does not allow full screen here."));
    document.addEventListener("fullscreenchange", () => this.#changed());
  }

  /** Whether a short Esc goes to the machine, and a long one leaves. */
  get holdsEscape() {
    return this.#locked;
  }

  async toggle() {
    if (document.fullscreenElement) return document.exitFullscreen();
    await document.documentElement.requestFullscreen({ navigationUI: "hide" });
    if (this.looking) return undefined;
    this.#locked = await this.#lockKeys();
    this.say(this.#locked ? ALL : some());
    return this.focus();
  }

  async #lockKeys() {
    if (!canLock()) return false;
    try {
      await navigator.keyboard.lock();
      return document.fullscreenElement !== null;
    } catch {
      return false;
    }
  }

  #changed() {
    this.button.setAttribute("aria-pressed", document.fullscreenElement !== null);
    if (document.fullscreenElement) return;
    this.#locked = false;
    navigator.keyboard?.unlock?.();
  }
}
