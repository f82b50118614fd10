// What would leave the page by mistake: a mouse's back and forward, a dropped file, the shortcut that closes a tab.

const SIDE_BUTTONS = new Set([3, 4]);

/** Keep the page from being left by any of these; closing it is asked about while `inUse()`. */
export function keepPage(inUse) {
  for (const type of ["pointerdown", "mousedown", "pointerup", "mouseup", "auxclick"]) {
    window.addEventListener(type, (event) => SIDE_BUTTONS.has(event.button) && event.preventDefault());
  }
  // A text field may take text that is dropped; a file would be opened in the page's place, wherever it lands.
  for (const type of ["dragover", "drop"]) {
    window.addEventListener(type, (event) => event.dataTransfer?.types.includes("Files") && refuse(event));
  }
  window.addEventListener("beforeunload", (event) => inUse() && event.preventDefault());
}

function refuse(event) {
  event.preventDefault();
  event.dataTransfer.dropEffect = "none";
}
