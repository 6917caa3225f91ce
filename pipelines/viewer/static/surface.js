// Mouse, pen and fingers on a pane: one finger or the left button goes, paints or measures; two fingers, another button or
// Shift move the picture; wheel and pinch scroll and zoom. What it finds it tells by `on`.

export class Surface {
  constructor(host, pane, on) {
    this.pane = pane;
    this.on = on; // {tool(), moved(), hover(found), paint(phase, found)}
    this.element = document.createElement("canvas"); // the ring of the brush and the ruler are drawn on it
    this.element.className = "surface";
    this.element.setAttribute("aria-hidden", "true");
    this.context = this.element.getContext("2d");
    host.append(this.element);
    this.pointers = new Map();
    this.ruler = null;
    const listen = (name, handler, options) => this.element.addEventListener(name, handler, options);
    listen("pointerdown", (event) => this.down(event));
    listen("pointermove", (event) => this.move(event));
    listen("pointerup", (event) => this.up(event));
    listen("pointercancel", (event) => this.up(event));
    listen("pointerleave", () => this.leave());
    listen("wheel", (event) => this.wheel(event), { passive: false });
    listen("dblclick", () => this.again());
    listen("contextmenu", (event) => event.preventDefault());
  }

  place(event) {
    const box = this.element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  down(event) {
    event.preventDefault();
    document.activeElement?.blur(); // so that keys are the page's again, not those of the field of the search
    this.element.setPointerCapture(event.pointerId);
    const place = this.place(event);
    this.pointers.set(event.pointerId, place);
    if (this.pointers.size > 1) {
      if (this.doing === "paint") this.on.paint("end");
      this.doing = "fingers";
      return;
    }
    const found = this.pane.at(...place);
    const moving = event.button !== 0 || event.shiftKey;
    if (this.pane.viewName === "solid") this.doing = "turn";
    else if (moving || !found) this.doing = "pan";
    else this.doing = this.on.tool() === "look" ? (this.pane.kind === "picture" ? "pan" : "go") : this.on.tool();
    this.ruler = this.doing === "ruler" ? { from: place, to: place, start: found } : null;
    if (this.doing === "go") this.go(place);
    if (this.doing === "paint") this.on.paint("begin", found);
    this.mark(place);
  }

  move(event) {
    const place = this.place(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      this.on.hover(this.pane.at(...place));
      this.mark(place);
      return;
    }
    if (this.doing === "fingers") return this.fingers(event.pointerId, place);
    this.pointers.set(event.pointerId, place);
    if (this.doing === "go") this.go(place);
    else if (this.doing === "pan") this.pane.pan(before, place);
    else if (this.doing === "turn") this.pane.rotate(place[0] - before[0], place[1] - before[1]);
    else if (this.doing === "paint") this.on.paint("to", this.pane.at(...place));
    else if (this.doing === "ruler") this.ruler.to = place;
    if (this.doing !== "paint" && this.doing !== "ruler") this.on.moved();
    this.on.hover(this.pane.at(...place));
    this.mark(place);
  }

  fingers(id, place) {
    const [one, two] = [...this.pointers.values()];
    const others = [...this.pointers].filter(([each]) => each !== id).map(([, each]) => each);
    const before = this.pointers.get(id);
    this.pointers.set(id, place);
    if (!two || !others.length) return;
    const apart = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
    const factor = apart(place, others[0]) / Math.max(apart(before, others[0]), 1);
    const middle = [(one[0] + two[0]) / 2, (one[1] + two[1]) / 2];
    this.pane.zoom(factor, ...middle);
    this.pane.pan(middle, middle.map((each, axis) => each + (place[axis] - before[axis]) / 2));
    this.on.moved();
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    if (this.doing === "paint" && !this.pointers.size) this.on.paint("end");
    if (!this.pointers.size) this.doing = null;
  }

  leave() {
    if (this.pointers.size) return;
    this.on.hover(null);
    this.mark(null);
  }

  go(place) {
    const found = this.pane.at(...place);
    if (!found) return;
    this.pane.goTo(found.voxel);
    this.on.moved();
  }

  wheel(event) {
    event.preventDefault();
    const place = this.place(event);
    const zooming = event.ctrlKey || this.pane.kind === "picture" || this.pane.viewName === "solid";
    if (zooming) this.pane.zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, ...place);
    else this.pane.step(this.pane.axisAt(...place), event.deltaY < 0 ? 1 : -1);
    this.ruler = null;
    this.on.moved();
    this.on.hover(this.pane.at(...place));
    this.mark(place);
  }

  again() {
    if (this.on.tool() === "paint") return;
    this.pane.reset();
    this.on.moved();
  }

  forgetRuler() {
    this.ruler = null;
    this.mark(null);
  }

  // Draws the ring of the brush under the pointer, and the ruler.
  mark(place) {
    const { element, context, ruler } = this;
    const dpr = globalThis.devicePixelRatio || 1;
    element.width = Math.round(element.clientWidth * dpr);
    element.height = Math.round(element.clientHeight * dpr);
    context.scale(dpr, dpr);
    const radius = place && this.on.tool() === "paint" && this.on.radius() * (this.pane.scaleAt(...place) ?? 0);
    if (radius) {
      for (const [width, colour] of [[3, "#000"], [1.25, "#fff"]]) {
        context.beginPath();
        context.arc(...place, Math.max(radius, 2), 0, 2 * Math.PI);
        Object.assign(context, { lineWidth: width, strokeStyle: colour });
        context.stroke();
      }
    }
    if (ruler) this.drawRuler(ruler);
  }

  drawRuler({ from, to, start }) {
    const end = this.pane.at(...to);
    const apart = start && end && start.plane === end.plane ? Math.hypot(...start.mm.map((each, i) => each - end.mm[i])) : null;
    const unit = this.pane.kind === "picture" ? "px" : "mm";
    const { context } = this;
    for (const [width, colour] of [[4, "#000"], [2, "#fff"]]) {
      Object.assign(context, { lineWidth: width, strokeStyle: colour });
      context.beginPath();
      context.moveTo(...from);
      context.lineTo(...to);
      context.stroke();
    }
    this.length = apart === null ? null : `${apart.toFixed(1)} ${unit}`;
    if (!this.length) return;
    Object.assign(context, { font: "600 13px system-ui, sans-serif", lineWidth: 4, strokeStyle: "#000", fillStyle: "#fff" });
    context.strokeText(this.length, to[0] + 10, to[1] - 8);
    context.fillText(this.length, to[0] + 10, to[1] - 8);
  }
}
