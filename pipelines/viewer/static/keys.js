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

// actions: name of the key (with "ctrl+" or "shift+" before it) to what it does.
export function listen(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.altKey || document.querySelector("dialog[open]")) return;
    const typing = event.target.matches("input:not([type=range]):not([type=checkbox]), select, textarea");
    if (typing) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const control = event.ctrlKey || event.metaKey;
    const digit = event.code.startsWith("Digit") ? event.code.slice(5) : null;
    const name = control ? `ctrl+${event.key.toLowerCase()}` : event.shiftKey && digit ? `shift+${digit}` : event.key;
    if (event.target.matches("input[type=range]") && /^(Arrow|Page|Home|End)/.test(name)) return;
    const action = actions[name];
    if (!action) return;
    event.preventDefault();
    action(event);
  });
}
