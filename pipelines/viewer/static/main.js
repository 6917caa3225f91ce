// The page: which case is open, what is shown of it, and what the keys and buttons do.

import { Failure, bitmap, json } from "./api.js";
import { bindings } from "./bindings.js";
import { Correcting } from "./correcting.js";
import { Curve } from "./curve.js";
import { element } from "./element.js";
import { keepFocus } from "./focus.js";
import { fillHelp, listen } from "./keys.js";
import { List } from "./list.js";
import { agreement, brushRows, labelRows, sideFigures } from "./panel.js";
import { Stage } from "./stage.js";
import { differenceStyle, newStyle } from "./style.js";
import { switchTheme } from "./switch_theme.js";
import { tools } from "./tools.js";
import { PLAIN, WINDOWS } from "./windows.js";

const $ = (id) => document.getElementById(id);

// What lasts from case to case, and what belongs to the case that is open.
const state = { view: "axial", windowName: "lung", window: WINDOWS.lung, tool: "look", split: "first", difference: false, outline: true };
let [list, loading, showing] = [null, null, Promise.resolve()];

const stage = new Stage($("panes"), {
  tool: () => state.tool,
  radius: () => state.brush?.radius ?? 0,
  paint: (phase, found) => correcting.paint(phase, found),
  moved: placed,
  hover: (found, value) => {
    const unit = state.facts?.intensity === "hu" ? " HU" : "";
    $("hovered").textContent = found && value !== null && value !== undefined ? `${value}${unit}` : "";
  },
});
const curve = new Curve($("curve"), (z) => stage.slice(z));

function say(text, fault = false) {
  $("said").textContent = text;
  $("said").classList.toggle("fault", fault);
}

function fail(error) {
  if (error.name === "AbortError") return;
  say(error.message, true);
  if (!(error instanceof Failure)) throw error;
}

async function open(number) {
  if (number === undefined) return;
  if (state.brush?.dirty && !confirm("The corrected mask is not saved. Leave it?")) return;
  loading?.abort();
  const { signal } = (loading = new AbortController());
  stage.close();
  Object.assign(state, { number, facts: null, layers: [], brush: null, measured: null, compared: null, problem: "", overlay: false, style: null, most: null, labels: [], hasOverlay: false });
  if (state.tool === "paint") state.tool = "look";
  list.choose(number);
  curve.show([], []);
  $("place").textContent = $("hovered").textContent = "";
  location.replace(`#${number}`);
  try {
    state.details = await json(`cases/${number}`, { signal });
    describe(state.details);
    draw();
    if (!["done", "data"].includes(state.details.status) && !state.details.layers.length) {
      stage.host.replaceChildren(element("div", { className: "nothing" }, element("h2", {}, state.details.status), element("p", {}, state.details.error ?? "There is nothing to show.")));
      return say("");
    }
    say("opening…");
    stage.host.classList.add("busy");
    await stage.load(number, state.details.name, signal);
    state.facts = stage.facts;
    state.window = state.facts.intensity === "display" ? PLAIN : (WINDOWS[state.windowName] ?? state.window);
    await show(signal);
    say(state.problem, Boolean(state.problem));
    list.renew(number);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (stage.panes.length) draw();
    else if (state.hasOverlay) await instead(error);
    fail(error);
  } finally {
    if (!signal.aborted) stage.host.classList.remove("busy");
  }
}

// What the details of a case say of its masks.
function describe(details) {
  const { folders } = list;
  const title = (each) => (folders.length > 1 ? `${folders[each.side].title}: ${each.title}` : each.title);
  state.layers = [...details.layers, ...details.corrections].map((each) => ({ ...each, path: `masks/${each.key}`, title: title(each) }));
  const keys = state.layers.map((each) => each.key);
  if (!keys.includes(state.first)) state.first = keys[0];
  if (!keys.includes(state.second) || state.second === state.first) state.second = keys.find((key) => key !== state.first);
  if (keys.length < 2) Object.assign(state, { split: "first", difference: false });
  else if (folders.length > 1 && !state.facts && !state.splitChosen) state.split = "both";
  state.labels = details.labels;
  state.hasOverlay = details.sides.some((side) => side?.overlay);
  state.activation = details.sides.some((side) => side?.classes && side.kind === "picture");
}

const layer = (key) => state.layers.find((each) => each.key === key);

// Measures and shows the masks that are chosen.
async function show(signal) {
  const keys = { first: [state.first], second: [state.second], both: [state.first, state.second] }[state.split].filter(Boolean);
  const shown = keys.length ? keys : [null];
  await stage.split(shown.map((key) => (state.layers.length > 1 ? (layer(key)?.title ?? "") : "")), state.view);
  signal.throwIfAborted();
  stage.each((pane) => {
    if (pane.viewName !== state.view) pane.setView(state.view);
    if (pane.window?.low !== state.window.low || pane.window?.high !== state.window.high) pane.setWindow(state.window);
  });
  state.measured = keys.length ? await json(`cases/${state.number}/${layer(keys[0]).path}/measures`, { signal }) : null;
  if (state.measured && (!state.labels.length || state.measured.labels.length > state.labels.length)) state.labels = state.measured.labels;
  if (state.layers.length > 1 && !(await compare(signal))) return show(signal);
  const found = state.measured?.curve;
  const fresh = !state.style;
  if (fresh) Object.assign(state, { most: null, of: found?.of ?? state.labels.at(-1)?.value });
  state.most = state.measured?.most ?? null;
  state.mostName = state.measured?.labels.find((each) => each.value === found?.of)?.name ?? "label";
  if (fresh) state.style = Object.assign(newStyle(state.labels), { outline: state.outline });
  const style = currentStyle();
  for (const [i, key] of keys.entries()) {
    const path = state.difference ? `comparison/${state.first}/${state.second}/${state.of}` : layer(key).path;
    stage.panes[i].setMask(await stage.mask(path, signal), style);
  }
  await showCurves(keys, signal);
  signal.throwIfAborted();
  if (fresh && state.facts.kind === "volume") stage.slice(state.most ?? Math.floor(state.facts.shape[2] / 2));
  else placed(stage.panes[0].voxel);
  draw();
}

// Two masks that cannot be compared (of another grid) leave the first one to be shown.
async function compare(signal) {
  try {
    state.compared = await json(`cases/${state.number}/comparison/${state.first}/${state.second}`, { signal });
    return true;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    state.problem = error.message;
    Object.assign(state, { layers: [layer(state.first)], split: "first", difference: false, compared: null });
    return false;
  }
}

function currentStyle() {
  if (!state.difference) return state.style;
  const titles = { first: `only 1: ${layer(state.first).title}`, second: `only 2: ${layer(state.second).title}`, both: "both" };
  state.differences ??= differenceStyle(titles);
  for (const [value, key] of [[1, "first"], [2, "second"], [3, "both"]]) state.differences.values.get(value).name = titles[key];
  return state.differences;
}

async function showCurves(keys, signal) {
  const all = state.split === "first" || state.layers.length < 2 ? keys : [state.first, state.second];
  const curves = [];
  for (const [i, key] of all.entries()) {
    const measured = await json(`cases/${state.number}/${layer(key).path}/measures`, { signal });
    if (!measured.curve) continue;
    const title = all.length > 1 ? `${i + 1} ${i ? "dashed" : "line"}: ${measured.curve.title}` : measured.curve.title;
    curves.push({ ...measured.curve, title, dashed: i > 0 });
  }
  curve.show(state.facts.kind === "volume" ? curves : [], state.facts.slices);
}

function placed(voxel) {
  if (!state.facts) return;
  if (state.facts.kind !== "volume") {
    $("place").textContent = `${state.facts.shape[0]} × ${state.facts.shape[1]} px`;
    return;
  }
  const [, , z] = voxel;
  const share = state.measured?.curve?.values[z];
  const text = `slice ${z + 1} of ${state.facts.shape[2]} (file's index ${state.facts.slices[z]})`;
  $("place").textContent = share === null || share === undefined ? text : `${text} · ${state.measured.curve.title.replace(", %", "")} ${(100 * share).toFixed(1)} %`;
  curve.mark(z, text);
}

// Redraws the tools and the panel.
function draw() {
  const correctable = { correcting: Boolean(state.brush), refusal: correcting.refusal };
  keepFocus($("tools"), () => $("tools").replaceChildren(...tools(state, actions, correctable)));
  const { details } = state;
  const parts = [];
  if (state.brush) parts.push(brushRows(state.brush, state.style, brushActions, { folder: correcting.folder, saving: Boolean(correcting.saving) }));
  else if (state.layers.length && correcting.refusal) parts.push(element("p", { className: "small", id: "refusal" }, correcting.refusal));
  if (state.style?.values.size && state.layers.length) parts.push(labelRows(currentStyle(), state.measured, { ...labelActions, difference: state.difference }));
  if (state.compared) parts.push(agreement(state.compared, [layer(state.first).title, layer(state.second).title]));
  details.sides.forEach((side, i) => parts.push(sideFigures(side, list.folders.length > 1 ? list.folders[i].title : null)));
  if (details.input) parts.push(element("p", { className: "small path", title: details.input }, details.input));
  keepFocus($("panel"), () => $("panel").replaceChildren(...parts.filter(Boolean)));
  $("title").textContent = details.name;
  document.title = `${details.name} – ${list.folders.map((each) => each.title).join(" and ")}`;
  stage.host.dataset.tool = state.tool;
}

const restyle = () => stage.each((pane) => pane.restyle(currentStyle()));
function inTurn(job) {
  return (showing = showing.then(job).catch(fail));
}

const again = () => inTurn(() => show(loading.signal));
const held = () => state.brush || state.beginning; // the mask that is shown is the one that is corrected

const labelActions = {
  show: (value, shown) => {
    currentStyle().values.get(value).shown = shown;
    restyle();
    draw();
  },
  opacity: (value, opacity) => {
    currentStyle().values.get(value).opacity = opacity;
    restyle();
  },
  outline: (outline) => {
    state.outline = state.style.outline = outline;
    restyle();
    draw();
  },
};

const actions = {
  view: (name) => {
    if (state.facts?.kind !== "volume") return;
    const drawnElsewhere = !stage.shows(name);
    if (drawnElsewhere && (state.beginning || (state.brush && !correcting.leave()))) return;
    state.view = name;
    if (drawnElsewhere) return again();
    stage.each((pane) => pane.setView(name));
    draw();
  },
  window: (name, window) => {
    if (state.facts?.kind !== "volume") return;
    state.windowName = name;
    state.window = window ?? WINDOWS[name] ?? state.window;
    stage.each((pane) => pane.setWindow(state.window));
    draw();
  },
  zoom: (factor) => stage.zoom(factor),
  reset: () => stage.reset(),
  most: () => state.most !== null && stage.slice(state.most),
  tool: (name) => (name === "paint" ? correcting.toggle() : setTool(state.tool === name ? resting() : name)),
  overlay: () => state.hasOverlay && showOverlay(!state.overlay).catch(fail),
  layer: (which, key) => {
    if (held()) return;
    const other = which === "first" ? "second" : "first";
    if (state[other] === key) state[other] = state[which];
    state[which] = key;
    again();
  },
  split: (name) => {
    if (held()) return;
    Object.assign(state, { split: name, splitChosen: true });
    again();
  },
  difference: () => {
    if (state.layers.length < 2 || held()) return;
    state.difference = !state.difference;
    again();
  },
  of: (value) => {
    if (held()) return;
    state.of = value;
    again();
  },
};

const resting = () => (state.brush ? "paint" : "look"); // the tool that the ruler gives back

function setTool(name) {
  state.tool = name;
  for (const each of stage.surfaces) each.forgetRuler();
  draw();
}

// The class activation lies beside the picture in what was written, the picture at its left; anything else is shown whole.
async function showOverlay(on) {
  state.overlay = on;
  stage.host.querySelector(".written")?.remove();
  if (!on) stage.each((pane) => pane.setInstead?.(null));
  else {
    const image = await bitmap(`cases/${state.number}/overlay/${state.details.sides.findIndex((side) => side?.overlay)}`);
    const [width, height] = state.facts?.shape ?? [0, 0];
    if (state.facts?.kind === "picture" && image.height === height && image.width === 2 * width) {
      const right = await createImageBitmap(image, width, 0, width, height);
      stage.each((pane) => pane.setInstead(right));
    } else await instead();
  }
  draw();
}

async function instead(error) {
  const side = state.details.sides.findIndex((each) => each?.overlay);
  const text = error ? "The image cannot be opened; this is the picture that was written with the result." : "The picture that was written with the result";
  stage.host.append(element("figure", { className: "written" }, element("img", { src: `cases/${state.number}/overlay/${side}`, alt: text }), element("figcaption", {}, text)));
}

const correcting = new Correcting({
  state, stage, describe, layer, show, draw, say, fail, inTurn, list: () => list, signal: () => loading.signal, restyle: () => restyle(),
}); // prettier-ignore

const brushActions = {
  label: (value) => {
    state.brush.label = value;
    draw();
  },
  size: (value) => {
    state.brush.size = Math.min(Math.max(value, 1), 60);
    document.querySelector(".brush .line").firstChild.textContent = `Brush ${state.brush.size} px`;
  },
  undo: () => correcting.undo(),
  save: () => correcting.save(),
};

function switchAll() {
  const style = currentStyle();
  const any = [...style.values.values()].some((each) => each.shown);
  for (const each of style.values.values()) each.shown = !any;
  restyle();
  draw();
}

function escape() {
  if (state.tool === "ruler") setTool(resting());
  else if (state.brush) correcting.toggle();
}

const resized = (by) => {
  if (!state.brush) return;
  brushActions.size(state.brush.size + by);
  draw();
};

function search() {
  showList(true);
  list.search.focus();
}

listen(bindings({ state, stage, list: () => list, open, actions, labelActions, brushActions, correct: () => correcting.toggle(), currentStyle, switchAll, switchTheme, resized, escape, search }));

fillHelp($("help"));
$("help-button").addEventListener("click", () => $("help").showModal());
$("theme").addEventListener("click", switchTheme);
const narrow = matchMedia("(max-width: 900px)"); // viewer.css lays the list over the image

function showList(shown) {
  document.body.classList.toggle("no-list", !shown);
  $("show-list").setAttribute("aria-expanded", String(shown));
  stage.each((pane) => pane.redraw());
}

$("show-list").addEventListener("click", () => showList(document.body.classList.contains("no-list")));
narrow.addEventListener("change", () => showList(!narrow.matches));
showList(!narrow.matches);
addEventListener("beforeunload", (event) => state.brush?.dirty && event.preventDefault());
addEventListener("resize", () => stage.each((pane) => pane.redraw()));

globalThis.viewer = { state, stage }; // for a look from the console, and for the tests

try {
  list = new List(await json("cases"), (number) => {
    if (narrow.matches) showList(false);
    open(number);
  });
  const asked = Number(location.hash.slice(1));
  const first = list.cases.find((each) => ["done", "data"].includes(each.status)) ?? list.cases[0];
  await open(location.hash && list.cases[asked] ? asked : first.number);
} catch (error) {
  fail(error);
}
