"""Pictures of a console's page as it runs, to look at:   python3 tools/page_shots.py URL FOLDER [CSS-SELECTOR …]

At 390×844 and 844×390 (a phone, by touch), 1280×800 and 1920×1080, in light, in dark and with forced colours: twelve
files. What a selector names is clicked first, in the order given: `#keys` for the page with that menu open. Run it with
the Python of ./test (.venv-test/bin/python), which has Playwright; it needs Chromium. No test: it is for eyes.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

SIZES = ((390, 844), (844, 390), (1280, 800), (1920, 1080))
MODES = ("light", "dark", "forced-colors")
PHONE = 900  # CSS pixels: what is not wider is held in a hand


def main(url: str, folder: str, *clicks: str) -> None:
    """Make the pictures, and say what is wider or higher than its window."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=["--no-sandbox"]
        )
        for width, height in SIZES:
            for mode in MODES:
                _picture(chromium, url, Path(folder) / f"{width}x{height}-{mode}.png", (width, height), clicks)
        chromium.close()


def _picture(chromium: Browser, url: str, file: Path, size: tuple[int, int], clicks: tuple[str, ...]) -> None:
    phone = max(size) <= PHONE
    context = chromium.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if "dark" in file.stem else "light",
        forced_colors="active" if "forced" in file.stem else "none",
        has_touch=phone,
        is_mobile=phone,
        device_scale_factor=2 if phone else 1,
        ignore_https_errors=True,
        bypass_csp=True,  # Playwright hides the text cursor by a style of its own
    )
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("body[data-state]:not([data-state=connecting])")
    for selector in clicks:
        page.locator(selector).click()
    page.wait_for_timeout(500)  # what slides in has come
    page.screenshot(path=file)
    wide, high = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    over = f"  larger than its window: {wide}×{high}" if wide > size[0] or high > size[1] else ""
    print(f"{file}{over}")
    context.close()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
