// Prevents leaving the page by mistake: by a mouse's back and forward, by keys for "back" of the browser, by a dropped
// file, by the shortcut that closes a tab.

import { onMac } from "./keys.js";

const SIDE_BUTTONS = new Set([3, 4]);
const ONCE_MS = 3000;

/**
 * Keep the page from being left by any of these. Closing it is asked about while `inUse()`. `takes`, where it is given, gets
 * the files that are dropped (a DataTransfer); else `dropped` is called when some are.
 */
export function keepPage({ inUse, dropped, takes = null }) {
  for (const type of ["pointerdown", "mousedown", "pointerup", "mouseup", "auxclick"]) {
    window.addEventListener(type, (event) => SIDE_BUTTONS.has(event.button) && event.preventDefault());
  }
  window.addEventListener("keydown", (event) => goesBack(event) && event.preventDefault());
  const refuse = takes ? taking(takes) : refusal(dropped);
  for (const type of ["dragenter", "dragover", "drop", ...(takes ? ["dragleave"] : [])]) window.addEventListener(type, refuse);
  window.addEventListener("beforeunload", (event) => {
    if (!inUse()) return;
    event.preventDefault();
    event.returnValue = "leave?"; // older browsers ask only then; none shows the text
  });
}

/** Firefox on Linux keeps a mouse's back for itself: no event tells of it, and it goes back a page. */
const KEEPS_BACK = /Firefox/.test(navigator.userAgent) && /Linux/.test(navigator.userAgent);

/**
 * Where that is so, have a step of the page's history that leads nowhere take it up: `pressed` is called if the mouse is
 * `over()` the screen, else `warned`, since it may have been the browser's own button: then the next one leaves.
 */
export function catchBack({ over, pressed, warned }) {
  if (!KEEPS_BACK) return;
  let armed = false;
  const arm = () => {
    if (!armed) history.pushState(null, "");
    armed = true;
  };
  // Not sooner: browsers pass over steps that nobody did anything on.
  for (const type of ["pointerdown", "keydown"]) window.addEventListener(type, arm, { capture: true });
  window.addEventListener("popstate", () => {
    armed = false;
    if (!over()) return warned();
    arm();
    return pressed();
  });
}

/** Whether a browser would go back or forward by a key: over the screen none gets that far, elsewhere on the page all do. */
function goesBack({ key, altKey, ctrlKey, metaKey, shiftKey, target }) {
  if (key === "BrowserBack" || key === "BrowserForward") return true;
  const writes = target instanceof Element && target.matches("textarea, input:not([type=checkbox], [type=radio])");
  const arrow = key === "ArrowLeft" || key === "ArrowRight";
  if (onMac) return metaKey && !ctrlKey && (key === "[" || key === "]" || (arrow && !writes));
  if (arrow) return altKey && !ctrlKey && !metaKey && !shiftKey;
  return key === "Backspace" && !writes;
}

/**
 * What becomes of a thing that is dragged here. A text field may take text. All else a browser would open in the page's
 * place: files, links, pictures; files are told of, since they may have been meant for the machine.
 */
function refusal(dropped) {
  let told = -Infinity;
  return (event) => {
    const { dataTransfer, target } = event;
    const files = dataTransfer?.types.includes("Files");
    if (!files && takesText(target)) return;
    event.preventDefault();
    if (dataTransfer) dataTransfer.dropEffect = "none";
    if (files && event.timeStamp - told > ONCE_MS) dropped();
    if (files) told = event.timeStamp;
  };
}

function taking(takes) {
  return (event) => {
    const { dataTransfer, target, type } = event;
    const files = dataTransfer?.types.includes("Files");
    if (!files && takesText(target)) return;
    event.preventDefault();
    if (dataTransfer) dataTransfer.dropEffect = files ? "copy" : "none";
    document.body.toggleAttribute("data-dragged", Boolean(files) && type !== "drop" && type !== "dragleave");
    if (files && type === "drop") takes(dataTransfer);
  };
}

const takesText = (target) => target instanceof Element && Boolean(target.closest("dialog textarea, input[type=text]"));
