// The page of one who may only look: it says so, offers nothing more, and says so again to whoever types or clicks.

const GONE = ["field", "keys", "type"];
const SAID = "View only: your input is not sent.";

/** Take from the page what this person may not do. `say` shows a line for a while. */
export function onlyLook({ say }) {
  document.getElementById("looking").hidden = false;
  for (const id of GONE) document.getElementById(id).hidden = true;
  document.addEventListener("keydown", (event) => isTyped(event) && say(SAID));
  document.getElementById("screen").addEventListener("pointerdown", () => say(SAID));
}

// Not what works the page itself: its buttons, and the browser's own shortcuts.
function isTyped({ key, ctrlKey, metaKey, altKey, target }) {
  if (ctrlKey || metaKey || altKey || target.closest("button, select, input, a")) return false;
  return key.length === 1 || ["Enter", "Backspace", "Delete"].includes(key);
}
