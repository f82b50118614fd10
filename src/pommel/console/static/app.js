// The page: wires the connection, the picture and the hands to the toolbar. Nothing is exported and nothing is global;
// body[data-state] and body[data-frames] tell the tests what is going on.

import { Audience } from "./audience.js";
import { Clipboard } from "./clipboard.js";
import { decode, encode } from "./codec.js";
import { Displays } from "./displays.js";
import { Hands } from "./hands.js";
import { onMac } from "./keys.js";
import { Link } from "./link.js";
import { Notes } from "./notes.js";
import { Picture } from "./picture.js";
import { Pointer } from "./pointer.js";
import { keepPage } from "./stay.js";
import { takesVideo } from "./video.js";

const JPEG = 1;
const FULL_SCALE = 1024;
const QUALITIES = { low: [30, 100], medium: [55, 50], high: [75, 33], best: [92, 20] }; // JPEG quality, least ms between
const STATES = {
  connecting: "Connecting",
  waiting: "Waiting for the machine",
  live: "Live",
  stopped: "Machine stopped",
  reconnecting: "Reconnecting",
  refused: "Refused",
};
const CAPS_LOCK = 4;
const TOAST_MS = 6000;
const REFRESH_AFTER_MS = 1000;
const SHOWN_EVERY_MS = 16; // an animation frame; those themselves stop while the page is hidden
const CONTROL_CHANNEL = "102938";

const body = document.body;
const $ = (id) => document.getElementById(id);
const settings = stored();

const pointer = new Pointer($("screen"));
const laidOut = (scale) => pointer.fit(scale);
const picture = new Picture($("screen"), $("stage"), { drawn, broken, videoBroken, laidOut });
const link = new Link({ onState: showState, onOpen: begin, onMessage: receive, onText: receiveText, onClose: ended });
const notes = new Notes($("note"));
const clipboard = new Clipboard($("copy"), $("field"), { say: toast });
const audience = new Audience($("question"), $("shared"), { say: toast, leave: () => focusScreen() });
const displays = new Displays($("displays"), $("displays-menu"), { choose: chooseDisplay });
const hands = new Hands(picture, $("field"), {
  send: (bytes) => link.send(bytes),
  leave: () => $("fit").focus(),
  paste: (browsers) => clipboard.paste(browsers),
});

// --- the machine to the page ---

async function begin() {
  picture.reset();
  pointer.forget();
  hands.forget();
  clipboard.begin();
  audience.begin();
  displays.list([], 0);
  acknowledged = arrived = 0;
  await videoKnown; // pictures come meanwhile
  sendAbilities();
  sendQuality();
  link.send(encode.getDisplays());
  link.send(encode.pause(document.hidden));
}

const ACTIONS = {
  Screen: ({ width, height }) => {
    notes.announced();
    picture.resize(width, height);
  },
  Picture: ({ x, y, image }) => picture.add(x, y, image),
  Video: (command) => picture.addVideo(command),
  MouseCursor: ({ shape }) => pointer.shape(shape),
  Pointer: (command) => pointer.picture(command),
  KeyState: ({ bits }) => {
    $("caps").hidden = !(bits & CAPS_LOCK);
    hands.locks.told(bits);
  },
  DisplayList: ({ ids, selected }) => displays.list(ids, selected),
  DisplayInfo: (info) => displays.place(info.displays),
  SetDisplay: ({ id }) => displays.select(id),
  Message: ({ text }) => notes.say(text),
  Alert: ({ text }) => (text.startsWith(".") ? console.warn(text) : notes.say(text)),
};

function receive(bytes) {
  for (const command of decode(bytes)) ACTIONS[command.is]?.(command);
}

function receiveText(text) {
  let said;
  try {
    said = JSON.parse(text);
  } catch {
    return;
  }
  if (String(said?.ctrlChannel) !== CONTROL_CHANNEL) return;
  if (said.type === "console") notes.say(said.msg);
  if (said.type === "clipboard") clipboard.told(said);
  audience.told(said);
}

function drawn(count, shown) {
  arrived = (arrived + count) >>> 0;
  acknowledge();
  if (shown === 0) return;
  body.dataset.frames = Number(body.dataset.frames) + shown;
  notes.pictured();
  link.pictured();
}

// How many pictures of this connection are done with, and of how many the machine's end was told: of the first at once.
let arrived = 0;
let acknowledged = 0;
let resting = 0;
function acknowledge() {
  if (resting || arrived === acknowledged) return;
  acknowledged = arrived;
  link.send(encode.shown(arrived));
  resting = setTimeout(() => {
    resting = 0;
    acknowledge();
  }, SHOWN_EVERY_MS);
}

// Whether this page takes video: known soon after it is there, and no longer so once a film could not be shown.
let video = false;
const videoKnown = takesVideo().then((takes) => (video = takes));

function sendAbilities() {
  link.send(encode.abilities(video, hands.written));
}

function videoBroken() {
  if (!video) return;
  video = false;
  sendAbilities();
  link.send(encode.refresh());
}

let refreshed = -Infinity;
function broken() {
  // What was missed is sent again, but not in a loop.
  if (performance.now() - refreshed < REFRESH_AFTER_MS) return;
  refreshed = performance.now();
  link.send(encode.refresh());
}

function ended(reason) {
  hands.release();
  hands.forget();
  audience.ended();
  if (reason) notes.say(reason, { parting: true });
}

// --- state, notices ---

function showState(state, text) {
  const before = body.dataset.state;
  body.dataset.state = state;
  $("state-text").textContent = STATES[state];
  $("notice-text").textContent = text;
  for (const more of document.querySelectorAll("[data-for]")) more.hidden = more.dataset.for !== state;
  $("retry").hidden = state !== "reconnecting" && state !== "stopped";
  for (const id of ["shot", "type", "keys"]) $(id).disabled = state !== "live";
  fitBar();
  if (state === "live" && before !== "live" && nothingFocused()) focusScreen();
}

const nothingFocused = () => document.activeElement === null || [body, $("retry")].includes(document.activeElement);
const focusScreen = () => $("field").focus({ preventScroll: true });

let toastTimer = 0;
let told = []; // what the toast says now; what comes while it stands is added, so that nothing is missed
function toast(text) {
  clearTimeout(toastTimer);
  told = text ? [...told.filter((line) => line !== text), text].slice(-3) : [];
  $("toast").hidden = told.length === 0;
  $("toast").textContent = told.join("\n");
  if (text) toastTimer = setTimeout(toast, TOAST_MS);
}

// --- toolbar ---

function sendQuality() {
  link.send(encode.compression(JPEG, QUALITIES[settings.quality][0], FULL_SCALE, QUALITIES[settings.quality][1]));
}

function showMode() {
  picture.mode = settings.mode;
  const fit = settings.mode === "fit";
  $("fit").setAttribute("aria-pressed", fit);
  $("fit").querySelector("span").textContent = fit ? "Fit" : "1:1";
}

async function toggleFullScreen() {
  if (document.fullscreenElement) return document.exitFullscreen();
  await document.documentElement.requestFullscreen({ navigationUI: "hide" });
  // Where it is to be had, the browser's and the desktop's own shortcuts go to the machine too.
  await navigator.keyboard?.lock?.().catch(() => {});
  return focusScreen();
}

function saveScreenshot() {
  $("screen").toBlob((blob) => {
    const address = URL.createObjectURL(blob);
    const when = new Date(Date.now() - new Date().getTimezoneOffset() * 60000).toISOString();
    const anchor = Object.assign(document.createElement("a"), {
      href: address,
      download: `${body.dataset.name}-${when.slice(0, 19).replace("T", "-").replaceAll(":", ".")}.png`,
    });
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }, "image/png");
  focusScreen();
}

function chooseDisplay(id) {
  link.send(encode.setDisplay(id));
  focusScreen();
}

// The buttons show their names if there is room for all, and the hint what is left. Its coming and going must not change
// the buttons.
function fitBar() {
  const header = document.querySelector("header");
  const cut = (element) => element.scrollWidth > element.clientWidth;
  const crowded = () => [header, header.querySelector("h1"), $("state-text")].some(cut);
  header.removeAttribute("data-compact");
  header.setAttribute("data-hintless", "");
  header.toggleAttribute("data-compact", crowded());
  header.removeAttribute("data-hintless");
  header.toggleAttribute("data-hintless", crowded() || cut($("hint")));
}

function placeMenu(button, menu) {
  const box = button.getBoundingClientRect();
  const left = Math.min(box.left, document.documentElement.clientWidth - menu.offsetWidth - 8);
  Object.assign(menu.style, { top: `${box.bottom + 4}px`, left: `${Math.max(left, 8)}px` });
}

function sendChord(event) {
  const keys = event.target.closest("[data-keys]")?.dataset.keys;
  if (!keys) return;
  hands.tap(keys.split(" "));
  $("keys-menu").hidePopover();
  focusScreen();
}

// By machine: whether its guest has another layout than this keyboard, or the same.
function writeCharacters() {
  hands.release();
  hands.written = Boolean(settings.written?.[body.dataset.name]);
  $(hands.written ? "as-written" : "as-pressed").checked = true;
  sendAbilities();
}

function typeText() {
  hands.type($("type-text").value);
  $("type-dialog").close();
}

function addFunctionKeys() {
  for (let number = 1; number <= 12; number += 1) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: `F${number}` });
    button.dataset.keys = `F${number}`;
    document.querySelector(".fkeys").append(button);
  }
}

// --- what is remembered between visits ---

function stored() {
  const fallback = { mode: "fit", quality: "high", swap: false, written: {} };
  try {
    const found = { ...fallback, ...JSON.parse(localStorage.getItem("pommel") ?? "{}") };
    return found.quality in QUALITIES ? found : fallback;
  } catch {
    return fallback;
  }
}

function remember(change) {
  Object.assign(settings, change);
  try {
    localStorage.setItem("pommel", JSON.stringify(settings));
  } catch {
    // Private windows may refuse; then it holds until the page is closed.
  }
}

// --- wiring ---

$("fit").onclick = () => {
  remember({ mode: settings.mode === "fit" ? "actual" : "fit" });
  showMode();
};
$("quality").onchange = () => {
  remember({ quality: $("quality").value });
  sendQuality();
  focusScreen();
};
$("swap").onchange = () => {
  remember({ swap: $("swap").checked });
  hands.swap = settings.swap;
};
for (const id of ["as-pressed", "as-written"]) {
  $(id).onchange = () => {
    remember({ written: { ...settings.written, [body.dataset.name]: $("as-written").checked } });
    writeCharacters();
  };
}
$("full").onclick = () => toggleFullScreen().catch(() => toast("The browser does not allow full screen here."));
$("shot").onclick = saveScreenshot;
$("copy").onclick = async () => {
  await clipboard.copyOut();
  if (document.activeElement === $("copy")) focusScreen();
};
$("keys-menu").onclick = sendChord;
for (const button of document.querySelectorAll("[popovertarget]")) {
  const menu = button.popoverTargetElement;
  menu.ontoggle = (event) => event.newState === "open" && placeMenu(button, menu);
}
$("type").onclick = () => $("type-dialog").showModal();
$("type-cancel").onclick = () => $("type-dialog").close();
$("type-send").onclick = typeText;
$("type-text").onkeydown = (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) typeText();
};
$("type-dialog").onclose = () => {
  $("type-text").value = "";
  focusScreen();
};
$("retry").onclick = () => link.retryNow();
$("screen").onfocus = focusScreen;
$("field").addEventListener("focus", () => ($("hint").hidden = false));
$("field").addEventListener("blur", () => ($("hint").hidden = true));
document.onfullscreenchange = () => {
  $("full").setAttribute("aria-pressed", document.fullscreenElement !== null);
  if (!document.fullscreenElement) navigator.keyboard?.unlock?.();
};
document.onvisibilitychange = () => {
  if (document.hidden) hands.release();
  link.send(encode.pause(document.hidden));
  if (document.hidden) return;
  link.send(encode.refresh());
  link.retryNow();
};
keepPage(() => link.state === "live");
window.ononline = () => link.retryNow();
window.onpagehide = () => hands.release();

$("quality").value = settings.quality;
$("swap").checked = settings.swap && !onMac;
$("swap-row").hidden = onMac;
hands.swap = $("swap").checked;
writeCharacters();
addFunctionKeys();
showMode();
new ResizeObserver(fitBar).observe(body);
new MutationObserver(fitBar).observe(document.querySelector("header"), {
  subtree: true,
  childList: true,
  attributeFilter: ["hidden"],
});
link.connect();
