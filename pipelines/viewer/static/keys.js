// Keys for everything, and the dialog that lists them.

import { button, element } from "./element.js";

export const KEYS = [
  ["cases", [
    ["n, p", "next, previous case"],
    ["/", "search the list"],
    ["Enter", "open the case that has the focus"],
  ]],
  ["volumes", [
    ["a, c, s", "axial, coronal, sagittal"],
    ["m, v", "the three planes, 3D"],
    ["↑ ↓ or wheel", "slice up, down; PageUp, PageDown ten of them"],
    ["Home", "the slice with the most lesion"],
    ["1 2 3 4", "lung, mediastinum, bone, free window"],
  ]],
  ["look", [
    ["+ −, ctrl+wheel, pinch", "zoom"],
    ["shift+drag, right button, two fingers", "move the picture"],
    ["0 or double click", "the whole picture"],
    ["r", "ruler"],
    ["h", "hide or show all labels"],
    ["shift+1 … 9", "hide or show a label"],
    ["o", "outline or filled"],
    ["x", "class activation, or the picture that was written"],
    ["d", "differences of two masks"],
    ["b", "first mask, second mask, side by side"],
  ]],
  ["correct", [
    ["e", "begin or end correcting"],
    ["l", "the next label of the brush"],
    ["w", "eraser"],
    ["[ ]", "smaller, larger brush"],
    ["ctrl+z", "undo"],
    ["ctrl+s", "save"],
  ]],
  ["page", [
    ["t", "light or dark"],
    ["?", "this list"],
    ["Esc", "close it, or end the tool"],
  ]],
]; // prettier-ignore

export function fillHelp(dialog) {
  const groups = KEYS.map(([title, lines]) =>
    element("section", {}, element("h3", {}, title), element("dl", {}, lines.map(([key, text]) => [element("dt", {}, key), element("dd", {}, text)]))),
  );
  dialog.append(
    element("h2", {}, "Keys"),
    element("div", { className: "groups" }, groups),
    element("p", {}, "A touch screen: one finger goes, paints or measures; two fingers move and zoom."),
    button("Close", "Close (Esc)", () => dialog.close(), { autofocus: true }),
  );
}

// What a key writes counts, not where it lies: "/" is Shift+7 on one keyboard, "1" is Shift+& and "[" AltGr+8 on others.
// Where Shift and a digit write a sign that nothing here waits for, it is that digit's key.
function nameOf(event, actions) {
  const third = event.getModifierState("AltGraph") || (event.altKey && /^[^\w\s]$/.test(event.key)); // AltGr, or a Mac's Option
  if (event.altKey && !third) return null;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key; // Caps Lock changes nothing
  if ((event.ctrlKey || event.metaKey) && !third) return `ctrl+${key}`;
  const digit = event.shiftKey && event.code.startsWith("Digit") && !(key in actions) ? event.code.slice(5) : null;
  return digit ? `shift+${digit}` : key;
}

// actions: name of the key (with "ctrl+" or "shift+" before it) to what it does.
export function listen(actions) {
  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return;
    const typing = event.target.matches("input:not([type=range]):not([type=checkbox]), select, textarea");
    if (typing) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const name = nameOf(event, actions);
    if (!name) return;
    if (event.target.matches("input[type=range]") && /^(Arrow|Page|Home|End)/.test(name)) return;
    const action = actions[name];
    if (!action) return;
    event.preventDefault();
    action(event);
  });
}
