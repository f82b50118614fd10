// Keeps xterm.js within the page's policy, which forbids <style> elements with a text and style attributes: what a hostile
// page could insert by them, it could insert anywhere. Rules in a constructed sheet, and styles set by a script, are allowed.

let kept = false;

/** From now on, the text of a <style> that scripts make is a sheet's, and a <span>'s style attribute is set as its style. */
export function keepStylesOutOfLine() {
  if (kept) return;
  kept = true;
  const create = document.createElement.bind(document);
  document.createElement = (name, options) => {
    // Another element in a <style>'s place: an empty one is refused too, and told.
    const made = create(name === "style" ? "template" : name, options);
    if (name === "style") holdAsSheet(made);
    if (name === "span") made.setAttribute = setAttribute;
    return made;
  };
}

function holdAsSheet(element) {
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  Object.defineProperty(element, "textContent", { set: (rules) => sheet.replaceSync(rules) });
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
    Element.prototype.remove.call(element);
  };
}

function setAttribute(name, value) {
  if (name === "style") this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
}
