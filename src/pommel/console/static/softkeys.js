// The soft keyboard's text field: composed text is typed as it is shown. Android's keyboards report no keys (all have the
// number 229); they change a text. So the change is used: removed characters are sent as Backspaces. There are always some
// spaces before the text, because a keyboard sends no Backspace in an empty field.

const STOCK = " ".repeat(200);
const LONGEST = 1000; // characters kept: what a keyboard may still go back to and mend

const segmenter = Intl.Segmenter && new Intl.Segmenter(undefined, { granularity: "grapheme" });
/** What a person sees as characters: one Backspace each. */
const characters = (text) => (segmenter ? Array.from(segmenter.segment(text), (part) => part.segment) : [...text]);

/**
 * What changed between two values of the field: {gone: how many Backspaces, text: what is typed then}. What stood before the
 * stock's end is not known, so all that is gone of it is one Backspace.
 */
export function change(before, after) {
  const [was, is] = [before, after].map((value) => {
    const stock = value.length - value.trimStart().length;
    const kept = Math.min(stock, STOCK.length);
    return { kept, typed: characters(value.slice(kept)) };
  });
  let same = 0;
  if (was.kept <= is.kept) while (same < was.typed.length && was.typed[same] === is.typed[same]) same += 1;
  return { gone: was.typed.length - same + (is.kept < was.kept ? 1 : 0), text: is.typed.slice(same).join("") };
}

export class SoftKeys {
  #value = STOCK;

  /** `send` takes {gone, text} whenever `field` changed; `key` a keydown or keyup that writes nothing, to act on. */
  constructor(field, { send, key }) {
    Object.assign(this, { field, send, key });
    for (const type of ["input", "compositionend"]) field.addEventListener(type, (event) => this.#changed(event));
    for (const type of ["keydown", "keyup"]) field.addEventListener(type, (event) => writes(event) || this.key(event));
    this.forget();
  }

  /** The text before the machine's caret is another now: what was typed is not gone back to. Ends a composition. */
  forget() {
    this.#value = this.field.value = STOCK;
    this.field.setSelectionRange(STOCK.length, STOCK.length);
  }

  #changed(event) {
    const { gone, text } = change(this.#value, this.field.value);
    this.#value = this.field.value;
    if (gone || text) this.send({ gone, text });
    const composing = event.isComposing && event.type === "input";
    const worn = !this.#value.startsWith(STOCK.slice(STOCK.length / 2)) || this.#value.length > LONGEST;
    if (worn && !composing) this.forget();
  }
}

/** Whether a key event's key changes the field, which tells of it; of chords and other keys only the event does. */
function writes({ key, keyCode, isComposing, ctrlKey, altKey, metaKey }) {
  if (isComposing || keyCode === 229) return true;
  if (ctrlKey || altKey || metaKey) return false;
  return [...key].length === 1 || ["Backspace", "Enter", "Process", "Unidentified", "Dead"].includes(key);
}
