// The effect of the gestures of `touch.js` on the machine and on the view.

import { Touch } from "./touch.js";

const BUZZ_MS = 15; // as short as can be felt

/** Take gestures on the stage. `board` is the soft keyboard; while it is closed a tap gives the focus to the screen (`leave`). */
export function takeGestures({ hands, view, stage, field, board, leave }) {
  const ring = stage.querySelector("#ring");
  const quiet = () => field.setAttribute("inputmode", "none"); // else each tap would bring up the soft keyboard
  if (matchMedia("(pointer: coarse)").matches) quiet();
  return new Touch(stage, view, {
    tap(point, button) {
      quiet();
      if (!board.open) leave();
      view.pointedAt(point);
      hands.point(point);
      hands.point(point, button);
      hands.point(point, 0);
      board.pointed();
    },
    press(point, button) {
      view.pointedAt(point);
      hands.point(point);
      hands.point(point, button);
      if (!button) board.pointed();
    },
    hover(point) {
      view.pointedAt(point);
      hands.point(point);
    },
    scroll(point, dx, dy) {
      const scale = Math.min(view.scale, 1); // what is there stays under the finger, and a little turns the wheel too
      hands.swipe(point, dx / scale, dy / scale);
    },
    held(point) {
      ring.hidden = !point;
      if (!point) return;
      Object.assign(ring.style, { left: `${point.clientX}px`, top: `${point.clientY}px` });
      navigator.vibrate?.(BUZZ_MS);
    },
    keyboard() {
      if (document.body.dataset.may === "act") board.toggle();
    },
  });
}
