// The screen as a file.

const KEPT_MS = 10000;

/** Have the browser save the canvas as a PNG, under a name made of `name` and the time of day. */
export function saveScreenshot(canvas, name) {
  canvas.toBlob((blob) => {
    const address = URL.createObjectURL(blob);
    const now = new Date();
    const when = new Date(now.getTime() - now.getTimezoneOffset() * 60000).toISOString();
    const download = `${name}-${when.slice(0, 19).replace("T", "-").replaceAll(":", ".")}.png`;
    Object.assign(document.createElement("a"), { href: address, download }).click();
    setTimeout(() => URL.revokeObjectURL(address), KEPT_MS);
  }, "image/png");
}
