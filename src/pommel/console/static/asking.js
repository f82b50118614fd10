// A question to the person at this page, in a dialog: with a line to fill, if it has one.

/**
 * Ask. `buttons` are {value, text, primary}; `field` is {label, value}. Returns a promise of {value, text, all}: the button's
 * value ("" for Esc and Cancel), the field's text, and whether the `all` check box (its text) is on.
 */
export function ask({ title, text = "", buttons, field = null, all = "" }) {
  const dialog = element("dialog", { className: "asking" });
  const heading = element("h2", { id: "asking-title", textContent: title });
  dialog.setAttribute("aria-labelledby", heading.id);
  const form = element("form", { method: "dialog" });
  form.append(heading);
  if (text) form.append(element("p", { textContent: text }));
  const input = field && element("input", { type: "text", value: field.value, autocomplete: "off", spellcheck: false });
  if (input) {
    input.setAttribute("aria-label", field.label);
    form.append(input);
  }
  const check = element("input", { type: "checkbox" });
  if (all) {
    const label = element("label", { className: "check" });
    label.append(check, element("span", { textContent: all }));
    form.append(label);
  }
  const actions = element("div", { className: "actions" });
  actions.append(element("button", { type: "button", textContent: "Cancel", onclick: () => dialog.close("") }));
  for (const { value, text: said, primary } of buttons) {
    actions.append(element("button", { value, textContent: said, className: primary ? "primary" : "" }));
  }
  form.append(actions);
  dialog.append(form);
  document.body.append(dialog);
  dialog.showModal();
  if (input) selectName(input);
  return new Promise((done) => {
    dialog.onclose = () => {
      dialog.remove();
      done({ value: dialog.returnValue, text: input?.value ?? "", all: check.checked });
    };
  });
}

// The name without its ending, as file managers do.
function selectName(input) {
  const dot = input.value.lastIndexOf(".");
  input.focus();
  input.setSelectionRange(0, dot > 0 ? dot : input.value.length);
}

const element = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);
