// The state of the connection, for people: the word in the bar, the notice over the picture, and what still works.
// The texts come from the server (console.telling); the stylesheet and the tests read body[data-state].

const NAMES = {
  connecting: "Connecting",
  waiting: "Waiting",
  live: "Live",
  silent: "No answer",
  paused: "Paused",
  stopped: "Stopped",
  ended: "Ended",
  gone: "No answer",
  reconnecting: "Reconnecting",
  refused: "Refused",
};
const RESTS = { asleep: "Asleep", crashed: "Crashed", absent: "Deleted" }; // of a machine that does not run
const OVER = new Set(["stopped", "ended", "gone", "refused"]); // there is nothing to lay hands on
const NEED_HANDS = ["type", "type-send", "keys", "displays", "lock", "copy"];

const body = document.body;
const words = JSON.parse(body.dataset.words);
const $ = (id) => document.getElementById(id);

let said = "";

/** What the server has to say of something, in one text. */
export function sayOf(about) {
  const { text, advice } = words[about];
  return [text, ...advice.map((parts) => parts.filter(Boolean).join(" "))].join(" ");
}

/** Whether a state is one in which there is nothing to lay hands on, and may never be again. */
export const isOver = (state) => OVER.has(state);

/** Show a state of Link's; return the one before. `pictured` is when the last picture was drawn (a Date), if one was. */
export function showState(state, { about, text, next }, pictured) {
  const before = body.dataset.state;
  body.dataset.state = state;
  body.toggleAttribute("data-over", isOver(state));
  $("state-text").textContent = (state === "stopped" && RESTS[about]) || NAMES[state];
  tell(state, about, text, pictured);
  $("notice-next").textContent = next;
  $("retry").textContent = isOver(state) ? "Connect again" : "Reconnect now";
  $("retry").hidden = state === "refused" || !(isOver(state) || state === "reconnecting");
  allow(state);
  return before;
}

// Not said again while it stays the same: whoever hears the page would hear it every second.
function tell(state, about, text, pictured) {
  const known = words[about];
  const sentence = text || known?.text || `The ${body.dataset.noun} is ${about}.`;
  const lines = (known?.advice ?? []).map(line);
  if (isOver(state) && pictured) lines.push(line([`The picture is the last one, from ${pictured.toLocaleTimeString()}.`]));
  const all = [sentence, ...lines.map(({ textContent }) => textContent)].join("\n");
  if (all === said) return;
  said = all;
  $("notice-text").textContent = sentence;
  $("notice-more").replaceChildren(...lines);
}

function line([before, command = "", after = ""]) {
  const paragraph = Object.assign(document.createElement("p"), { className: "more" });
  const code = document.createElement("code");
  const spans = command.split(" ").map((textContent) => Object.assign(document.createElement("span"), { textContent }));
  code.append(...spans.flatMap((span) => [" ", span]).slice(1)); // so that a line does not break within an option
  paragraph.append(before, ...(command ? [" ", code, " "] : []), after);
  return paragraph;
}

// What would be pressed on nothing does not work, and does not stand open.
function allow(state) {
  const over = isOver(state);
  for (const control of document.querySelectorAll("header [role=toolbar] :is(button, select)")) control.disabled = over;
  for (const id of NEED_HANDS) $(id).disabled = state !== "live";
  $("shot").disabled = state !== "live" && state !== "paused"; // a picture that stands still is one
  if (state !== "live") for (const menu of document.querySelectorAll("[popover]")) menu.hidePopover();
  if (over && $("type-dialog").open) $("type-dialog").close();
  if (over && $("frame").contains(document.activeElement)) document.activeElement.blur();
  $("frame").inert = over; // so that keys and clicks are the browser's again
  const focused = document.activeElement;
  if (over && (!focused || focused === body || focused.disabled)) $("notice").focus();
  if (over && document.fullscreenElement) document.exitFullscreen();
}
