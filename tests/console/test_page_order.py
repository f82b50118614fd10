"""Which clipboard was copied to last: every order of events, in the browser's own JavaScript."""

from __future__ import annotations

import pytest

from .conftest import Open
from .desk import Desk

pytestmark = pytest.mark.asyncio(loop_scope="module")

# A person and a page, with clips that are numbers in the order in which they were copied. Events: M the machine copies;
# H the person leaves, copies elsewhere and comes back; A they leave and come back; P they paste. `way` is what the
# browser gives: it "tells" of changes, lets the page "look" without asking, or neither ("blind").
EVERY_ORDER = """async ([module, length]) => {
  const { Order } = await import(module);
  const clip = (number) => new Map([["text", new TextEncoder().encode(String(number))]]);
  const wrong = { tells: [], looks: [], blind: [] };
  let pastes = 0;
  const play = (way, events) => {
    const order = new Order(way === "tells");
    let [count, there, here] = [2, 0, 1]; // copied before the page was opened: the person's is taken for the newer
    let [seen, unseen] = [here, false];
    const steps = {
      M: () => {
        there = ++count;
        order.machineChanged();
        if (way === "looks") order.saw(clip((seen = here)));
        unseen = seen !== here;
      },
      H: () => {
        here = ++count;
        order.came();
        if (way === "tells") order.hereChanged();
      },
      A: () => order.came(),
      P: () => {
        pastes += 1;
        const newest = Math.max(there, here);
        if (order.isNewer(clip(here))) order.agreed(clip((seen = there = here)));
        // What nobody could have seen: an older copy of the person's, made before the machine's, and they left since.
        if (there !== newest && !(way === "blind" && unseen)) wrong[way].push(events.join(""));
      },
    };
    for (const event of events) steps[event]();
  };
  const all = (events) => {
    if (events.length === length) for (const way of Object.keys(wrong)) play(way, events);
    else for (const event of "MHAP") all([...events, event]);
  };
  all(["P"]);
  return { wrong, pastes };
}"""


async def test_every_order_of_copies_pastes_and_absences_pastes_the_newest(open_page: Open, desk: Desk) -> None:
    page = await open_page()
    module = await page.evaluate("new URL('static/order.js', document.baseURI).href")
    found = await page.evaluate(EVERY_ORDER, [module, 7])
    assert found["wrong"] == {"tells": [], "looks": [], "blind": []}
    assert found["pastes"] > 3 * 4**6


async def test_the_same_copied_again_is_a_copy_and_the_first_paste_of_all_is_the_persons(
    open_page: Open, desk: Desk
) -> None:
    page = await open_page()
    found = await page.evaluate(
        """async () => {
          const { Order } = await import(new URL("static/order.js", document.baseURI).href);
          const a = new Map([["text", new Uint8Array([65])]]);
          const told = new Order(false);
          const first = told.isNewer(a);
          told.agreed(a);
          const again = told.hereIsNewer;
          told.hereChanged();
          told.machineChanged();
          const machines = told.hereIsNewer;
          told.hereChanged(); // the same text again
          return [first, again, machines, told.isNewer(a)];
        }"""
    )
    assert found == [True, None, False, True]
