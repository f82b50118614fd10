// A line at the bottom of the page that disappears by itself.

const STANDS_MS = 6000;
const MOST_LINES = 3;
const BELOW = 20; // CSS pixels from there to the edge of the window, and a little above it: menus leave it so much

/** Give a function that puts a text into `place`; what comes while one stands is added, so that nothing is missed. */
export function toaster(place) {
  let timer = 0;
  let told = [];
  return function toast(text) {
    clearTimeout(timer);
    told = text ? [...told.filter((line) => line !== text), text].slice(-MOST_LINES) : [];
    place.hidden = told.length === 0;
    place.textContent = told.join("\n");
    document.documentElement.style.setProperty("--toast", `${place.hidden ? 0 : place.offsetHeight + BELOW}px`);
    if (text) timer = setTimeout(toast, STANDS_MS);
  };
}
