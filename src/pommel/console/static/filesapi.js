// The machine's files by the server: one function for each thing. A path is percent-encoded bytes, as the server spells it,
// because names need not be text. No DOM.

const ADDRESS = "api/files";

/** The server refused, or could not be reached (`lost`). What else it told is in `told`: see console/files_api.py. */
export class FilesError extends Error {
  constructor(message, told = {}, lost = false) {
    super(message);
    Object.assign(this, { told, lost });
  }
}

export const list = (path, signal) => ask("GET", "list", { path }, { signal });
export const check = (path) => ask("GET", "check", { path });
export const makeFolder = (path, exists) => ask("POST", "folder", exists ? { path, exists: "ok" } : { path });
export const rename = (path, to) => ask("POST", "rename", { path, to });
export const remove = (path) => ask("POST", "remove", { path });
export const begin = (upload, signal) => ask("POST", "begin", upload, { signal });
export const finish = (upload, signal) => ask("POST", "finish", upload, { signal });
export const discard = (upload) => ask("POST", "discard", upload);
export const sendPiece = (upload, at, body, signal) => ask("PUT", "piece", { ...upload, at }, { body, signal });

/** Where the browser downloads a file from, or a folder as an archive. */
export const contentAddress = (path) => `${ADDRESS}/content?path=${path}`;

/** A name that a person or their computer gave, as the server spells it. */
export const spelled = (name) => encodeURIComponent(name.toWellFormed?.() ?? name.replace(/[\ud800-\udfff]/gu, "\ufffd"));

/** A path that a person typed: from the root, from `~`, or from the folder `here`. */
export function pathTyped(text, here) {
  const path = text.split("/").map(spelled).join("/");
  const isWhole = path.startsWith("/") || path === "~" || path.startsWith("~/");
  return isWhole ? path || "/" : joined(here, path);
}

export const joined = (folder, name) => `${folder.replace(/\/+$/, "")}/${name}`;
export const parentOf = (path) => path.slice(0, path.lastIndexOf("/")) || "/";

async function ask(method, name, fields, options = {}) {
  // The values are encoded already, and a browser does not change what is.
  const query = Object.entries(fields).map(([key, value]) => `${key}=${value}`);
  let answer;
  try {
    answer = await fetch(`${ADDRESS}/${name}?${query.join("&")}`, { method, cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new FilesError("The console does not answer.", {}, true);
  }
  const isOurs = (answer.headers.get("Content-Type") ?? "").startsWith("application/json");
  const told = isOurs ? await answer.json().catch(() => ({})) : {};
  if (answer.ok) return told;
  // 503: the machine cannot be reached now. 408: this browser was too slow. Without our JSON, a proxy or a console that ends.
  const lost = [408, 502, 503, 504].includes(answer.status) || (!isOurs && answer.status !== 403);
  throw new FilesError(sentence(told, answer.status), told, lost);
}

function sentence({ error, hint }, status) {
  if (!error) return `The console refused it (${status}).`;
  return `${error[0].toUpperCase()}${error.slice(1)}.${hint ? ` ${hint[0].toUpperCase()}${hint.slice(1)}.` : ""}`;
}
