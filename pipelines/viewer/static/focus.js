// Redrawing parts of the page leaves the keyboard's focus where it was.

const FOCUSABLE = "button, select, input";

// What an element is, before and after it is drawn anew.
function signature(each) {
  const group = each.closest("[role=group]")?.getAttribute("aria-label");
  const { value, brush, number } = each.dataset;
  return [each.tagName, each.id, group, each.getAttribute("aria-label"), each.title, value, brush, number].join("|");
}

// Redraws what lies in a container. Where the element of the focus has been disabled, one beside it has the focus.
export function keepFocus(container, redraw) {
  const held = document.activeElement;
  const within = held && held !== container && container.contains(held);
  const was = within && signature(held);
  const place = within && [...container.querySelectorAll(FOCUSABLE)].indexOf(held);
  redraw();
  if (!within) return;
  const all = [...container.querySelectorAll(FOCUSABLE)];
  const same = all.find((each) => signature(each) === was);
  const at = same ? all.indexOf(same) : place;
  const near = all.filter((each) => !each.disabled).sort((a, b) => Math.abs(all.indexOf(a) - at) - Math.abs(all.indexOf(b) - at));
  (same && !same.disabled ? same : near[0])?.focus({ preventScroll: true });
}
