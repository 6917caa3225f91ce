// The panel at the right: labels with their switches, figures, what a classifier predicted, notes.

import { button, element } from "./element.js";
import { css } from "./style.js";

export function labelRows(style, measured, actions) {
  const rows = [...style.values].map(([value, label]) => {
    const found = measured?.labels.find((each) => each.value === value);
    const amount = found && (found.ml === null ? `${(100 * found.share).toFixed(2)} %` : `${found.ml.toFixed(1)} mL`);
    const name = found && !actions.difference ? found.title : label.name;
    return element(
      "div",
      { className: "label" },
      element(
        "label",
        {},
        element("input", { type: "checkbox", checked: label.shown, "aria-label": `show ${name}`, data: { value }, oninput: (event) => actions.show(value, event.target.checked) }),
        element("span", { className: "swatch", style: { background: css(label.colour) }, "aria-hidden": "true" }),
        element("span", { className: "what" }, name),
        amount && !actions.difference ? element("span", { className: "amount" }, amount) : null,
      ),
      element("input", { type: "range", min: 0, max: 1, step: 0.05, value: label.opacity, "aria-label": `opacity of ${name}`, title: "Opacity", oninput: (event) => actions.opacity(value, Number(event.target.value)) }),
    );
  });
  return element("section", {}, element("h2", {}, actions.difference ? "Differences" : "Labels"), rows, actions.difference ? null : outlineSwitch(style, actions));
}

function outlineSwitch(style, actions) {
  const one = (outline, text) => button(text, `${text} (o)`, () => actions.outline(outline), { "aria-pressed": String(style.outline === outline) });
  return element("div", { className: "choice", role: "group", "aria-label": "Outline or filled" }, one(true, "Outline"), one(false, "Filled"));
}

// saved: {folder, saving}: in which folder, and whether a mask is on its way.
export function brushRows(brush, style, actions, { folder, saving }) {
  const labels = [...style.values].map(([value, { name, colour }]) =>
    button([element("span", { className: "swatch", style: { background: css(colour) } }), name], `Paint ${name} (l)`, () => actions.label(value), { "aria-pressed": String(brush.label === value), data: { brush: value } }),
  );
  const eraser = button("Eraser", "Eraser (w)", () => actions.label(0), { "aria-pressed": String(brush.label === 0), data: { brush: 0 } });
  const size = element("input", { type: "range", min: 1, max: 60, value: brush.size, "aria-label": "size of the brush", oninput: (event) => actions.size(Number(event.target.value)) });
  return element(
    "section",
    { className: "brush" },
    element("h2", {}, "Correct"),
    element("div", { className: "choice", role: "group", "aria-label": "Label of the brush" }, labels, eraser),
    element("label", { className: "line" }, `Brush ${brush.size} px`, size),
    element(
      "div",
      { className: "choice" },
      button("Undo", "Undo (ctrl+z)", actions.undo, { disabled: !brush.strokes.length, id: "undo" }),
      button(saving ? "Saving…" : "Save", "Save (ctrl+s)", actions.save, { className: "main", id: "save", disabled: saving || !brush.dirty }),
    ),
    element("p", { className: "small path", id: "saved-in" }, "Saved as ", element("code", {}, `${folder}/corrected/…`), "; the prediction stays as it is."),
  );
}

export function sideFigures(side, title) {
  if (!side) return null;
  const rows = side.figures.map((one) => [element("dt", {}, one.title), element("dd", {}, one.text.replace(`${one.title} `, ""))]);
  return element(
    "section",
    {},
    element("h2", {}, title ?? "Report"),
    side.error ? element("p", { className: "error" }, side.error) : null,
    side.warnings.map((each) => element("p", { className: "warning" }, each)),
    side.classes ? chances(side.classes) : null,
    rows.length ? element("dl", { className: "figures" }, rows) : null,
    side.network ? element("p", { className: "small" }, `network ${side.network}`) : null,
    side.notes?.map((each) => element("p", { className: "small" }, each)),
    side.use ? element("p", { className: "small" }, side.use) : null,
  );
}

// Bars of the probabilities; a line where the class begins that has an operating threshold.
function chances({ prediction, probabilities, threshold }) {
  const rows = probabilities.map(({ name, value }) => {
    const limit = threshold?.name === name ? threshold.value : null;
    const words = limit === null ? `${name} ${value.toFixed(3)}` : `${name} ${value.toFixed(3)}, predicted from ${limit.toFixed(3)}`;
    return element(
      "div",
      { className: `chance${name === prediction ? " predicted" : ""}` },
      element("span", {}, name === prediction ? `${name} – predicted` : name),
      element("span", { className: "amount" }, value.toFixed(3)),
      element(
        "div",
        { className: "bar", role: "img", "aria-label": words },
        element("div", { className: "filled", style: { width: `${100 * value}%` } }),
        limit === null ? null : element("div", { className: "limit", title: `predicted from ${limit.toFixed(3)}`, style: { left: `${100 * limit}%` } }),
      ),
      limit === null ? null : element("span", { className: "small" }, `predicted from ${limit.toFixed(3)}`),
    );
  });
  return element("div", { className: "chances" }, rows);
}

export function agreement(found, titles) {
  const amount = (voxels, ml) => (ml === null || ml === undefined ? `${voxels} px` : `${ml.toFixed(ml < 1 ? 2 : ml < 10 ? 1 : 0)} mL`);
  const percent = (value) => (value === null ? "–" : `${(100 * value).toFixed(1)} %`);
  const rows = found.labels.map((each) =>
    element("tr", {}, element("th", { scope: "row" }, each.name), element("td", {}, each.dice === null ? "–" : each.dice.toFixed(3)), element("td", {}, amount(each.first, each.first_ml)), element("td", {}, amount(each.second, each.second_ml))),
  );
  if (found.extents.some((each) => each !== null)) {
    rows.push(element("tr", {}, element("th", { scope: "row" }, "extent"), element("td", {}, ""), ...found.extents.map((each) => element("td", {}, percent(each)))));
  }
  return element(
    "section",
    {},
    element("h2", {}, "Two masks"),
    element("p", { className: "small" }, `1: ${titles[0]}`, element("br"), `2: ${titles[1]}`),
    element("table", { id: "agreement" }, element("thead", {}, element("tr", {}, ["", "Dice", "1", "2"].map((each) => element("th", { scope: "col" }, each)))), element("tbody", {}, rows)),
  );
}
