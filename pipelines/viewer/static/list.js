// The list of cases: thumbnail, status, key figures, refusals with what to do; searched, filtered and sorted.

import { element } from "./element.js";
import { keepFocus } from "./focus.js";

const SIGNS = { done: "✓", data: "✓", refused: "✕", failed: "!", skipped: "–" };

export class List {
  constructor(content, onchoose) {
    this.cases = content.cases;
    this.folders = content.folders;
    this.onchoose = onchoose;
    this.root = document.querySelector("#list");
    this.search = document.querySelector("#search");
    this.status = document.querySelector("#status");
    this.sort = document.querySelector("#sort");
    this.chosen = null;
    this.fillChoices();
    for (const each of [this.search, this.status, this.sort]) each.addEventListener("input", () => this.draw());
    this.draw();
  }

  fillChoices() {
    const count = new Map();
    for (const { status } of this.cases) count.set(status, (count.get(status) ?? 0) + 1);
    this.status.append(element("option", { value: "" }, `all ${this.cases.length}`));
    for (const [status, number] of count) {
      this.status.append(element("option", { value: status }, `${status === "data" ? "with an image" : status} ${number}`));
    }
    this.status.append(element("option", { value: "*corrected" }, "corrected"), element("option", { value: "*warned" }, "with a warning"));
    const keys = new Map();
    for (const each of this.cases) for (const side of each.sides) for (const figure of side?.figures ?? []) keys.set(figure.key, figure.title);
    this.sort.append(element("option", { value: "" }, "as listed"), element("option", { value: "name" }, "by name"));
    for (const [key] of keys) this.sort.append(element("option", { value: `figure ${key}` }, `by ${key}`));
  }

  get shown() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = this.status.value;
    const found = this.cases.filter((each) => {
      if (wanted === "*corrected" && !each.corrected) return false;
      if (wanted === "*warned" && !each.sides.some((side) => side?.warnings.length)) return false;
      if (wanted && !wanted.startsWith("*") && each.status !== wanted) return false;
      const text = [each.name, each.status, ...each.sides.flatMap((side) => side?.figures.map((one) => one.text) ?? [])];
      return words.every((word) => text.join(" ").toLowerCase().includes(word));
    });
    if (this.sort.value === "name") found.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
    if (this.sort.value.startsWith("figure ")) {
      const key = this.sort.value.slice(7);
      const value = (each) => each.sides.flatMap((side) => side?.figures ?? []).find((one) => one.key === key)?.value;
      found.sort((a, b) => compare(value(a), value(b)));
    }
    return found;
  }

  draw() {
    const { shown } = this;
    keepFocus(this.root, () => this.root.replaceChildren(...shown.map((each) => this.line(each))));
    document.querySelector("#count").textContent = shown.length === this.cases.length ? "" : `${shown.length} of ${this.cases.length} cases`;
  }

  line(each) {
    const figures = each.sides.map((side) => this.figures(side));
    const warned = each.sides.some((side) => side?.warnings.length);
    return element(
      "li",
      {},
      element(
        "button",
        { type: "button", className: "case", "aria-current": String(each.number === this.chosen), data: { number: each.number, status: each.status }, onclick: () => this.onchoose(each.number) },
        thumbnail(each),
        element(
          "span",
          { className: "about" },
          element("strong", { title: each.name }, each.name.split("/").at(-1)),
          each.name.includes("/") ? element("span", { className: "figures within", title: each.name }, each.name.split("/").slice(0, -1).join("/")) : null,
          element(
            "span",
            { className: "status" },
            element("span", { className: `sign ${each.status}`, "aria-hidden": "true" }, SIGNS[each.status] ?? "?"),
            each.status === "data" ? "" : ` ${each.status}`,
            each.corrected ? " · corrected" : "",
            warned ? " · look" : "",
          ),
          figures,
          each.error ? element("span", { className: "error" }, each.error) : null,
        ),
      ),
    );
  }

  figures(side) {
    if (!side) return this.folders.length > 1 ? element("span", { className: "figures" }, "not in this folder") : null;
    if (!side.figures.length) return null;
    const shown = side.figures.slice(0, 3).map((one) => (one.title === "class" || one.text.startsWith(one.title) ? one.text : `${one.title} ${one.text}`));
    return element("span", { className: "figures" }, shown.join(" · "));
  }

  choose(number) {
    this.chosen = number;
    for (const each of this.root.querySelectorAll(".case")) {
      const here = Number(each.dataset.number) === number;
      each.setAttribute("aria-current", String(here));
      if (here) each.scrollIntoView({ block: "nearest" });
    }
  }

  // The case before or after the chosen one, of those that are shown.
  beside(step) {
    const { shown } = this;
    const index = shown.findIndex((each) => each.number === this.chosen);
    return shown[Math.min(Math.max(index + step, 0), shown.length - 1)]?.number;
  }

  // A volume has a thumbnail once it has been opened.
  renew(number) {
    const blank = this.root.querySelector(`[data-number="${number}"] .blank`);
    blank?.replaceWith(thumbnail(this.cases.find((one) => one.number === number)));
  }

  mark(number, corrected) {
    const each = this.cases.find((one) => one.number === number);
    if (!each || each.corrected === corrected) return;
    each.corrected = corrected;
    this.draw();
  }
}

function thumbnail(each) {
  const blank = () => element("span", { className: "blank", "aria-hidden": "true" }, SIGNS[each.status] ?? "?");
  if (each.status !== "done" && each.status !== "data") return blank();
  return element("img", {
    src: `cases/${each.number}/thumbnail`,
    alt: "",
    loading: "lazy",
    onerror: (event) => event.target.replaceWith(blank()),
  });
}

function compare(a, b) {
  if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
  return typeof a === "number" && typeof b === "number" ? b - a : String(a).localeCompare(String(b));
}
