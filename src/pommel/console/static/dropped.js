// What a person dropped or chose, as files with the names of their folders.

/** Read what was dropped: {files: [{file, path}], folders: [names]}. It must be called in the event; the rest follows. */
export async function dropped(dataTransfer) {
  const found = { files: [], folders: [] };
  // All at once, because the browser forgets them after the event. A file that no folder holds has no entry.
  const items = [...dataTransfer.items].filter(({ kind }) => kind === "file");
  const all = items.map((item) => ({ entry: item.webkitGetAsEntry(), file: item.getAsFile() }));
  for (const { entry, file } of all) {
    if (entry) await walk(entry, [], found);
    else if (file) found.files.push({ file, path: [file.name] });
  }
  return found;
}

/** What was chosen in a dialog of the browser: files, or a folder with all that is in it. */
export function chosen(list) {
  const files = [...list].map((file) => ({ file, path: (file.webkitRelativePath || file.name).split("/") }));
  const folders = new Map();
  for (const { path } of files) {
    for (let depth = 1; depth < path.length; depth += 1) folders.set(path.slice(0, depth).join("/"), path.slice(0, depth));
  }
  return { files, folders: [...folders.values()] };
}

async function walk(entry, above, found) {
  const path = [...above, entry.name];
  if (entry.isFile) {
    found.files.push({ file: await new Promise((done, failed) => entry.file(done, failed)), path });
    return;
  }
  found.folders.push(path);
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed)); // Chromium gives 100 at a time
    if (some.length === 0) return;
    for (const one of some) await walk(one, path, found);
  }
}
