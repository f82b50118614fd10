// The page: connects the WebSocket, the picture and the input with the toolbar. Nothing is exported and nothing is global;
// tests read the state from body[data-state] and body[data-frames].

import { Audience } from "./audience.js";
import { fitBar, hangMenus, watchBar } from "./bar.js";
import { Capture } from "./capture.js";
import { Chords } from "./chords.js";
import { Clipboard } from "./clipboard.js";
import { decode, encode } from "./codec.js";
import { Displays } from "./displays.js";
import { Dock } from "./dock.js";
import { Files } from "./files.js";
import { takeGestures } from "./fingers.js";
import { FullScreen } from "./full.js";
import { Hands } from "./hands.js";
import { onMac } from "./keys.js";
import { Link, fetchStatus } from "./link.js";
import { Meter } from "./meter.js";
import { Notes } from "./notes.js";
import { Picture } from "./picture.js";
import { Pointer } from "./pointer.js";
import { saveScreenshot } from "./saving.js";
import { QUALITIES, remember, settings } from "./settings.js";
import { SoftBoard } from "./softboard.js";
import { SizeButton } from "./size.js";
import { isOver, sayOf, showState } from "./states.js";
import { catchBack, keepPage } from "./stay.js";
import { TerminalPanel } from "./terminal.js";
import { toaster } from "./toast.js";
import { TypingDialog } from "./typing.js";
import { takesVideo } from "./video.js";
import { onlyLook } from "./viewing.js";

const JPEG = 1;
const FULL_SCALE = 1024;
const CAPS_LOCK = 4;
const REFRESH_AFTER_MS = 1000;
const SHOWN_EVERY_MS = 16; // an animation frame; those themselves stop while the page is hidden
const CONTROL_CHANNEL = "102938";

const body = document.body;
const $ = (id) => document.getElementById(id);
const looking = body.dataset.may === "look"; // the server refuses what is more; nothing here offers it

const toast = toaster($("toast"));
const pointer = new Pointer($("screen"));
function laidOut(scale) {
  pointer.fit(scale);
  size?.show();
}
let size; // its button, once there is a picture to speak of
let board; // the soft keyboard, once there are hands
const picture = new Picture($("screen"), $("stage"), { drawn, broken, videoBroken, laidOut });
const link = new Link({ onState: changed, onOpen: begin, onMessage: receive, onText: receiveText, onClose: ended });
const meter = new Meter($("pulse"), $("pulse-menu"));
const notes = new Notes($("note"));
const clipboard = new Clipboard($("copy"), $("field"), { say: toast });
const audience = new Audience($("question"), $("shared"), { say: toast, leave: () => focusScreen() });
const dock = new Dock($("dock"), { leave: () => focusScreen() });
const files = body.dataset.files === "yes" ? new Files($("files-panel"), { say: toast }) : null;
const filesPanel = files && { button: $("files"), place: $("files-panel"), opened: () => files.opened(), closed: () => files.closed(), focus: () => files.focus() };
if (filesPanel) dock.add(filesPanel);
const displays = new Displays($("displays"), $("displays-menu"), { choose: chooseDisplay });
// The other end does not answer, and a key that is pressed now must not arrive minutes later. Or the machine is paused, and
// QEMU drops all input, releases too: so releases are kept until it continues.
let deaf = false;
let owed = null; // while it is being kept
let kept = [];
const hands = new Hands(picture, $("field"), {
  send: (bytes) => looking || (owed ? owed.push(bytes) : deaf || link.send(bytes)),
  leave: () => {
    capture.leave();
    $("fit").focus();
  },
  paste: (browsers) => (deaf ? undefined : clipboard.paste(browsers)),
  lacks: (button) => looking || toast(`The ${body.dataset.noun}'s mouse has no ${button} button.`),
});
const full = new FullScreen($("full"), $("full-help"), { looking, say: toast, focus: () => focusScreen() });
const capture = new Capture($("screen"), $("lock"), $("hint"), { say: toast, focus: () => focusScreen(), holds: () => full.holdsEscape });

// --- the machine to the page ---

async function begin() {
  picture.reset();
  pointer.forget();
  hands.forget();
  kept = [];
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
  Move: (command) => picture.move(command),
  MouseCursor: ({ shape }) => pointer.shape(shape),
  Pointer: (command) => pointer.picture(command),
  KeyState: ({ bits }) => {
    $("caps").hidden = !(bits & CAPS_LOCK);
    hands.locks.told(bits);
  },
  MouseKind: (mouse) => {
    hands.mouse = mouse;
    capture.offer(mouse.relative && !looking);
  },
  DisplayList: ({ ids, selected }) => looking || displays.list(ids, selected),
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
  if (said.type === "rtt") link.echoed(said.time);
  if (said.type === "console") notes.say(said.msg);
  if (said.type === "clipboard") clipboard.told(said);
  if (said.type === "standing") link.stands(said.state);
  audience.told(said);
}

let lastPicture = null; // when it was drawn, for people
function drawn(count, shown) {
  arrived = (arrived + count) >>> 0;
  acknowledge();
  if (shown === 0) return;
  body.dataset.frames = Number(body.dataset.frames) + shown;
  lastPicture = new Date();
  notes.pictured();
  link.pictured();
  link.shown(shown);
}

// How many pictures of this connection are finished, and how many were acknowledged: the first one at once.
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
  link.send(encode.abilities(video, hands.written || Boolean(board?.open))); // a soft keyboard's chords are letters too
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
  capture.offer(false);
  audience.ended();
  if (reason) notes.say(reason, { parting: true });
}

// --- state, notices ---

function changed(state, what) {
  listen(state);
  const before = showState(state, what, lastPicture);
  if (state !== "live") capture.leave();
  if (isOver(state) && !isOver(before)) notes.clear(); // the notice says it
  fitBar();
  if (state === "live" && before !== "live" && nothingFocused()) focusScreen();
  if (state === "live" && before !== "live" && !chords.known) fetchStatus().then(({ guest }) => chords.tell(guest));
  showPulse();
}

function listen(state) {
  if (state === "silent" || (state === "live" && deaf)) hands.release(); // what was pressed while deaf is not down there
  if (state === "paused" && !deaf) {
    owed = kept = [];
    hands.release();
    owed = null;
  }
  deaf = state === "silent" || state === "paused";
  if (state === "live") for (const bytes of kept.splice(0)) link.send(bytes);
}

// The round trip beside the state, and the rest behind it.
function showPulse() {
  const { width, height } = $("screen");
  const quality = $("quality").selectedOptions[0].textContent + (video ? ", video for moving parts" : "");
  meter.show(link.state === "live" ? link.figures : null, { quality, screen: `${width} × ${height}` });
}

const nothingFocused = () => document.activeElement === null || [body, $("retry"), $("notice")].includes(document.activeElement);
const focusScreen = () => $(board?.open ? "soft" : "field").focus({ preventScroll: true });

// --- toolbar ---

function sendQuality() {
  link.send(encode.compression(JPEG, QUALITIES[settings.quality][0], FULL_SCALE, QUALITIES[settings.quality][1]));
}

function chooseDisplay(id) {
  link.send(encode.setDisplay(id));
  focusScreen();
}

// A PC's keyboard has a Mac's modifiers in other places; no other guest's.
function swapKeys(guest) {
  const applies = guest === "mac" && !onMac;
  hands.release();
  hands.swap = applies && settings.swap;
  $("swap").checked = settings.swap;
  $("swap-row").hidden = !applies;
}

// For each machine: whether its guest has another keyboard layout than this keyboard, or the same.
function writeCharacters() {
  hands.release();
  hands.written = Boolean(settings.written?.[body.dataset.name]);
  $(hands.written ? "as-written" : "as-pressed").checked = true;
  sendAbilities();
}

function dropFiles(dataTransfer) {
  dock.open(filesPanel);
  files.drop(dataTransfer);
}

// --- wiring ---

$("quality").onchange = () => {
  remember({ quality: $("quality").value });
  sendQuality();
  focusScreen();
};
$("swap").onchange = () => {
  remember({ swap: $("swap").checked });
  swapKeys($("keys-menu").querySelector("select").value);
};
for (const id of ["as-pressed", "as-written"]) {
  $(id).onchange = () => {
    remember({ written: { ...settings.written, [body.dataset.name]: $("as-written").checked } });
    writeCharacters();
  };
}
$("shot").onclick = () => {
  saveScreenshot($("screen"), body.dataset.name);
  focusScreen();
};
$("copy").onclick = async () => {
  await clipboard.copyOut();
  if (document.activeElement === $("copy")) focusScreen();
};
const chords = new Chords($("keys-menu"), {
  name: body.dataset.name,
  told: body.dataset.guest,
  send: (codes) => {
    hands.tap(codes);
    focusScreen();
  },
  changed: swapKeys,
});
new TypingDialog($("type"), $("type-dialog"), { type: (text) => hands.type(text), closed: focusScreen });
hangMenus({ opening: showPulse });
$("retry").onclick = () => link.retryNow();
$("screen").onfocus = focusScreen;
$("field").addEventListener("focus", () => ($("hint").hidden = false));
$("field").addEventListener("blur", () => ($("hint").hidden = true));
document.onvisibilitychange = () => {
  if (document.hidden) hands.release();
  link.rest(document.hidden);
  link.send(encode.pause(document.hidden));
  if (document.hidden) return;
  link.send(encode.refresh());
  link.retryNow();
};
keepPage({
  inUse: () => (link.state === "live" && !looking && hands.used) || files?.busy,
  dropped: () => toast(sayOf("dropped")),
  takes: filesPanel && dropFiles,
});
catchBack({
  over: () => $("screen").matches(":hover"),
  pressed: () => hands.back(),
  warned: () => toast("Press Back again to leave this page."),
});
window.ononline = () => link.retryNow();
window.addEventListener("focus", () => isOver(link.state) && link.retryNow());
window.onpagehide = () => hands.release();

if (looking) onlyLook({ say: toast });
if (body.dataset.terminal === "yes") new TerminalPanel($("to-terminal"), $("terminal"), dock, { say: toast });
$("quality").value = settings.quality;
writeCharacters();
const softParts = { button: $("keyboard"), field: $("soft"), row: $("keyrow") };
const { guest } = body.dataset;
board = new SoftBoard({ ...softParts, guest, hands, view: picture.view, leave: focusScreen, opened: sendAbilities });
takeGestures({ hands, view: picture.view, stage: $("stage"), field: $("field"), board, leave: focusScreen });
size = new SizeButton($("fit"), picture.view, { mode: settings.mode, chosen: (mode) => remember({ mode }) });
size.show();
watchBar();
setInterval(showPulse, 1000);
link.connect();
