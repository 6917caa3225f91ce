// The row of tools above the image.

import { button, choice, element } from "./element.js";
import { RANGE, WINDOWS, words } from "./windows.js";

const VIEWS = [["axial", "Axial", "Axial (a)"], ["coronal", "Coronal", "Coronal (c)"], ["sagittal", "Sagittal", "Sagittal (s)"], ["planes", "3 planes", "The three planes (m)"], ["solid", "3D", "3D (v)"]]; // prettier-ignore

// correctable: {correcting, refusal}: whether a mask is being corrected, and why it cannot be, or null.
export function tools(state, actions, { correcting, refusal }) {
  const { facts, layers } = state;
  if (!facts) return [];
  const volume = facts.kind === "volume";
  const rows = [];
  if (volume) rows.push(choice("View", VIEWS, state.view, actions.view), ...windowTools(state, actions));
  rows.push(
    element(
      "div",
      { className: "choice", role: "group", "aria-label": "Zoom" },
      button("−", "Smaller (-)", () => actions.zoom(1 / 1.3)),
      button("+", "Larger (+)", () => actions.zoom(1.3)),
      button("Fit", "The whole picture (0)", actions.reset),
    ),
    button("Ruler", "Ruler (r)", () => actions.tool("ruler"), { "aria-pressed": String(state.tool === "ruler") }),
  );
  if (volume && state.most !== null) rows.push(button(`Most ${state.mostName}`, `The slice with the most ${state.mostName} (Home)`, actions.most, { id: "most" }));
  if (state.hasOverlay) rows.push(button(state.activation ? "Class activation" : "Written picture", "The picture that was written with the result (x)", actions.overlay, { "aria-pressed": String(state.overlay), id: "overlay" }));
  if (layers.length > 1) rows.push(...layerTools(state, actions, correcting));
  if (layers.length) rows.push(button("Correct", refusal ?? "Correct the mask (e)", () => actions.tool("paint"), { "aria-pressed": String(correcting), id: "correct", disabled: Boolean(refusal) && !correcting }));
  return rows;
}

function windowTools(state, actions) {
  const { facts, window } = state;
  const range = RANGE[facts.intensity] ?? RANGE.hu;
  const slider = (name, value, least, most, change) =>
    element("label", { className: "line" }, name, element("input", { type: "range", min: least, max: most, value, "aria-label": name === "L" ? "level of the window" : "width of the window", onchange: (event) => change(Number(event.target.value)) }));
  const level = (window.low + window.high) / 2;
  const width = window.high - window.low;
  const free = (l, w) => actions.window("free", { low: l - w / 2, high: l + w / 2 });
  const sliders = element(
    "span",
    { className: "free", title: words(window) },
    slider("L", level, range.least, range.most, (value) => free(value, width)),
    slider("W", width, 1, range.most - range.least, (value) => free(level, value)),
    element("span", { className: "small" }, words(window)),
  );
  if (facts.intensity !== "hu") return [sliders];
  const options = [...Object.entries(WINDOWS).map(([key, { title }], i) => [key, title, `${title} window (${i + 1})`]), ["free", "Free", "Free window (4)"]];
  return [choice("Window", options, state.windowName, (name) => actions.window(name)), state.windowName === "free" ? sliders : null].filter(Boolean);
}

function layerTools(state, actions, correcting) {
  const { layers, first, second } = state;
  const select = (name, chosen, change) =>
    element("select", { "aria-label": name, title: name, onchange: (event) => change(event.target.value) }, layers.map(({ key, title }) => element("option", { value: key, selected: key === chosen }, title)));
  const made = [select("First mask", first, (key) => actions.layer("first", key))];
  const options = [["first", "1", "The first mask (b)"], ["second", "2", "The second mask (b)"], ["both", "Side by side", "Side by side (b)"]];
  made.push(choice("Masks", options, state.split, actions.split));
  made.push(select("Second mask", second, (key) => actions.layer("second", key)));
  made.push(button("Differences", "Where they differ, in colour (d)", actions.difference, { "aria-pressed": String(state.difference), id: "difference" }));
  if (state.difference) {
    made.push(element("select", { "aria-label": "Label whose differences are shown", onchange: (event) => actions.of(Number(event.target.value)) }, state.labels.map(({ value, name }) => element("option", { value, selected: value === state.of }, name))));
  }
  // While a mask is corrected, it is the one that is shown.
  if (correcting) for (const each of made) for (const one of [each, ...each.children]) if ("disabled" in one) one.disabled = true;
  return made;
}
