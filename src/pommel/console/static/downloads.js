// A dialog with the files that were copied in the machine; a click downloads one.

const NOUN = document.body.dataset.noun; // "machine" or "session", as the server tells
const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

/** A size for people, of bytes. */
export function sizeOf(bytes) {
  let [size, unit] = [bytes, 0];
  for (; size >= 1024 && unit < UNITS.length - 1; unit += 1) size /= 1024;
  return `${unit === 0 || size >= 10 ? Math.round(size) : size.toFixed(1)} ${UNITS[unit]}`;
}

/** Show them: `files` are {name, size, why, folder}, and `address` takes a file's number. Names are the machine's, so only text. */
export function offer(files, address) {
  const dialog = element("dialog", { id: "files-dialog" });
  dialog.setAttribute("aria-labelledby", "files-title");
  const title = element("h2", { id: "files-title", textContent: `Files copied in the ${NOUN}` });
  const hint = element("p", { textContent: `Click one to download it; a folder is downloaded as a .tar archive. The files also stay in the ${NOUN}.` });
  const list = element("ul");
  list.append(...files.map((file, number) => row(file, address(number))));
  const close = element("button", { type: "button", textContent: "Close", onclick: () => dialog.close() });
  const actions = element("div", { className: "actions" });
  actions.append(close);
  dialog.append(title, hint, list, actions);
  dialog.onclose = () => dialog.remove();
  document.getElementById("files-dialog")?.close();
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", done));
}

function row({ name, size, why, folder }, href) {
  const item = element("li");
  const named = why ? element("span") : element("a", { href, download: folder ? `${name}.tar` : name });
  named.append(name);
  item.append(named, element("small", { textContent: why || (folder ? "folder" : sizeOf(size)) }));
  return item;
}

const element = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);
