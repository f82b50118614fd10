// The bar over the picture: which of its texts fit, and the menus of its buttons.

const header = document.querySelector("header");

// The buttons show their names if there is room for all, and the hint what is left. Its coming and going must not change
// the buttons.
export function fitBar() {
  const cut = (element) => element.scrollWidth > element.clientWidth;
  const crowded = () => [header, header.querySelector("h1"), header.querySelector("#state-text")].some(cut);
  header.removeAttribute("data-compact");
  header.setAttribute("data-hintless", "");
  header.toggleAttribute("data-compact", crowded());
  header.removeAttribute("data-hintless");
  header.toggleAttribute("data-hintless", crowded() || cut(header.querySelector("#hint")));
}

/** Keep the bar fitted, whatever changes in it or in the window. */
export function watchBar() {
  new ResizeObserver(fitBar).observe(document.body);
  new MutationObserver(fitBar).observe(header, { subtree: true, childList: true, attributeFilter: ["hidden"] });
}

/** Place each menu under its button when it opens; `opening` is called before that. */
export function hangMenus({ opening }) {
  for (const button of document.querySelectorAll("[popovertarget]")) {
    const menu = button.popoverTargetElement;
    menu.ontoggle = (event) => {
      if (event.newState !== "open") return;
      opening();
      place(button, menu);
    };
  }
}

function place(button, menu) {
  const box = button.getBoundingClientRect();
  const left = Math.min(box.left, document.documentElement.clientWidth - menu.offsetWidth - 8);
  const top = box.bottom + 4;
  // The bar may be several lines high, and a menu is over all else: what the page says at its foot must not be under it.
  const maxHeight = `calc(${document.documentElement.clientHeight - top - 8}px - var(--toast, 0px))`;
  Object.assign(menu.style, { top: `${top}px`, left: `${Math.max(left, 8)}px`, maxHeight });
}
