// The page of a view-only viewer: it says so, has no controls for input, and says so again after a key or a click.

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
