// The settings that this browser stores between visits. Uses only the browser's storage, not the DOM.

export const QUALITIES = { low: [30, 100], medium: [55, 50], high: [75, 33], best: [92, 20] }; // JPEG quality, least ms between

const FALLBACK = { mode: "auto", quality: "high", swap: false, written: {}, guests: {}, hidden: false };

export const settings = stored();

/** Change some settings, from now on and for the next visit. */
export function remember(change) {
  Object.assign(settings, change);
  try {
    localStorage.setItem("pommel", JSON.stringify(settings));
  } catch {
    // Private windows may refuse; then it holds until the page is closed.
  }
}

function stored() {
  try {
    const found = { ...FALLBACK, ...JSON.parse(localStorage.getItem("pommel") ?? "{}") };
    return found.quality in QUALITIES ? found : { ...FALLBACK };
  } catch {
    return { ...FALLBACK };
  }
}
