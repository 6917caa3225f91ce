// The image of a case with its masks: one pane, or two side by side that go together.

import { bitmap, bytes, json } from "./api.js";
import { Picture } from "./picture.js";
import { Slices, inSlices, isLarge } from "./slices.js";
import { Surface } from "./surface.js";
import { Volume } from "./volume.js";

export class Stage {
  panes = [];
  surfaces = [];

  constructor(host, on) {
    this.host = host;
    this.on = on; // {tool(), radius(), paint(phase, found), moved(voxel), hover(found, value)}
  }

  close() {
    for (const pane of this.panes) pane.close();
    this.panes = [];
    this.surfaces = [];
    this.data = this.Kind = null;
    this.masks = new Map();
    this.host.replaceChildren();
  }

  // Reads the image; the masks come as they are asked for.
  async load(number, name, signal) {
    this.close();
    Object.assign(this, { number, name });
    this.facts = await json(`cases/${number}/image.json`, { signal });
    const path = `cases/${number}/image`;
    this.data = this.facts.kind === "volume" ? await bytes(path, { signal }) : await bitmap(path, { signal });
  }

  // Shows as many panes as there are titles, of a kind that can show the view.
  async split(titles, view) {
    const place = this.panes[0]?.place;
    const { viewName, window } = this.panes[0] ?? {};
    const Kind = this.facts.kind === "picture" ? Picture : isLarge(this.facts) && inSlices(view) ? Slices : Volume;
    if (Kind !== this.Kind) {
      for (const pane of this.panes) pane.close();
      Object.assign(this, { Kind, panes: [], surfaces: [] });
      this.host.replaceChildren();
    }
    while (this.panes.length > titles.length) {
      this.panes.pop().close();
      this.surfaces.pop();
      this.host.lastChild.remove();
    }
    while (this.panes.length < titles.length) await this.add();
    this.host.dataset.panes = titles.length;
    titles.forEach((title, i) => {
      this.host.children[i].querySelector(".name").textContent = title;
      this.panes[i].canvas.setAttribute("aria-label", `${this.facts.kind} ${this.name}${title && `, ${title}`}`);
    });
    for (const pane of this.panes.slice(1)) {
      if (viewName && pane.viewName !== viewName) pane.setView(viewName);
      if (window && pane.window?.low !== window.low) pane.setWindow(window);
    }
    for (const pane of this.panes) pane.redraw();
    if (place) for (const pane of this.panes) pane.place = place;
  }

  // Whether the panes that are there can show a view.
  shows(view) {
    return this.Kind === (isLarge(this.facts) && inSlices(view) ? Slices : Volume);
  }

  async add() {
    const box = document.createElement("div");
    box.className = "pane";
    const name = document.createElement("span");
    name.className = "name";
    this.host.append(box);
    const pane = new this.Kind(box);
    this.panes.push(pane);
    await pane.open(this.facts, this.data);
    const surface = new Surface(box, pane, {
      tool: this.on.tool,
      radius: this.on.radius,
      moved: () => this.follow(pane),
      hover: (found) => this.on.hover(found, found && pane.value(found.voxel)),
      paint: (phase, found) => this.on.paint(phase, found),
    });
    this.surfaces.push(surface);
    box.append(name);
  }

  // All panes go where one has gone.
  follow(pane = this.panes[0]) {
    for (const each of this.panes) if (each !== pane) each.place = pane.place;
    for (const each of this.surfaces) each.forgetRuler();
    this.on.moved(pane.voxel);
  }

  // A mask, or differences of two, by its address; kept until the case is left.
  async mask(path, signal) {
    if (!this.masks.has(path)) this.masks.set(path, await bytes(`cases/${this.number}/${path}`, { signal }));
    return this.masks.get(path);
  }

  forget(path) {
    for (const key of this.masks.keys()) if (key.includes(path)) this.masks.delete(key);
  }

  each(action) {
    for (const pane of this.panes) action(pane);
  }

  goTo(voxel) {
    if (!this.panes.length) return;
    this.panes[0].goTo(voxel);
    this.follow();
  }

  slice(z) {
    const [x, y] = this.panes[0].voxel;
    this.goTo([x, y, z]);
  }

  step(by) {
    if (!this.panes.length) return;
    this.panes[0].step(this.panes[0].axisAt(-1, -1), by);
    this.follow();
  }

  zoom(factor) {
    if (!this.panes.length) return;
    this.panes[0].zoom(factor);
    this.follow();
  }

  reset() {
    if (!this.panes.length) return;
    this.panes[0].reset();
    this.follow();
  }
}
