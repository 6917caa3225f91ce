// A picture on a canvas of its own, with the same interface as a volume: one slice, no third direction.

import { outlineSlice, table } from "./style.js";

export class Picture {
  kind = "picture";
  mask = null;
  part = 250; // of its longer side: how thick an outline is
  instead = null; // another picture in its place: the class activation

  constructor(host) {
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    host.append(this.canvas);
    this.context = this.canvas.getContext("2d");
  }

  async open(facts, image) {
    this.facts = facts;
    this.image = image;
    this.fit();
    this.watch = new ResizeObserver(() => this.redraw());
    this.watch.observe(this.canvas);
    this.redraw();
  }

  // What is shown, in pixels, and how large one of them is: of a picture the picture, of a volume one of its slices.
  get size() {
    return this.facts.shape.slice(0, 2);
  }

  get pixel() {
    return [1, 1];
  }

  // The mask's values that are shown now, (height, width) in a row; the voxel of a column and row.
  get plane() {
    return this.mask;
  }

  toVoxel(column, row) {
    return [column, row, 0];
  }

  fit() {
    const [width, height] = this.size;
    this.layer = new OffscreenCanvas(width, height);
    this.drawn = new Uint8Array(width * height);
    this.centre = [(width * this.pixel[0]) / 2, (height * this.pixel[1]) / 2];
    this.times = 1;
  }

  close() {
    this.watch?.disconnect();
    this.canvas.remove();
  }

  get voxel() {
    return this.marked ?? [Math.floor(this.centre[0]), Math.floor(this.centre[1]), 0];
  }

  setView() {}

  setWindow() {}

  setInstead(image) {
    this.instead = image;
    this.redraw();
  }

  setMask(mask, style) {
    this.mask = mask;
    this.restyle(style);
  }

  restyle(style = this.style) {
    this.style = style;
    this.touched();
  }

  touched() {
    const [width, height] = this.size;
    const pixels = new ImageData(width, height);
    if (this.mask && this.style) {
      const plane = this.plane;
      if (this.style.outline) {
        outlineSlice(plane, this.drawn, width, height, 0);
        // a line of one pixel of a large picture would not be seen
        for (let i = 1; i < Math.round(Math.max(width, height) / this.part); i++) this.thicken(plane, width, height);
      } else {
        this.drawn.set(plane);
      }
      const colours = new Uint32Array(table(this.style).buffer);
      const target = new Uint32Array(pixels.data.buffer);
      for (let i = 0; i < target.length; i++) target[i] = colours[this.drawn[i]];
    }
    this.layer.getContext("2d").putImageData(pixels, 0, 0);
    this.redraw();
  }

  thicken(plane, width, height) {
    const before = this.drawn.slice();
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        if (before[i] || !plane[i]) continue;
        const beside = Math.max(
          x > 0 ? before[i - 1] : 0, x < width - 1 ? before[i + 1] : 0,
          y > 0 ? before[i - width] : 0, y < height - 1 ? before[i + width] : 0,
        ); // prettier-ignore
        if (beside === plane[i]) this.drawn[i] = beside;
      }
    }
  }

  // CSS pixels to a millimetre; of a picture, to a pixel of it.
  get scale() {
    const [width, height] = this.size.map((each, axis) => each * this.pixel[axis]);
    return this.times * Math.min(this.canvas.clientWidth / width, this.canvas.clientHeight / height);
  }

  at(x, y) {
    const { scale } = this;
    const across = (x - this.canvas.clientWidth / 2) / scale + this.centre[0];
    const down = (y - this.canvas.clientHeight / 2) / scale + this.centre[1];
    const [column, row] = [Math.floor(across / this.pixel[0]), Math.floor(down / this.pixel[1])];
    if (column < 0 || row < 0 || column >= this.size[0] || row >= this.size[1]) return null;
    return { voxel: this.toVoxel(column, row), plane: this.axis ?? 2, mm: [across, down, 0] };
  }

  scaleAt() {
    return this.scale;
  }

  goTo(voxel) {
    this.marked = voxel;
  }

  step() {}

  axisAt() {
    return 2;
  }

  zoom(factor, x, y) {
    const before = this.scale;
    const middle = [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2];
    const from = [x ?? middle[0], y ?? middle[1]];
    const under = from.map((each, axis) => (each - middle[axis]) / before + this.centre[axis]);
    this.times = Math.min(Math.max(this.times * factor, 0.5), 40);
    this.centre = under.map((each, axis) => each - (from[axis] - middle[axis]) / this.scale);
    this.redraw();
  }

  pan(from, to) {
    this.centre = this.centre.map((each, axis) => each - (to[axis] - from[axis]) / this.scale);
    this.redraw();
  }

  rotate() {}

  reset() {
    this.times = 1;
    this.centre = this.size.map((each, axis) => (each * this.pixel[axis]) / 2);
    this.redraw();
  }

  get place() {
    return { centre: [...this.centre], times: this.times, marked: this.marked };
  }

  set place({ centre, times, marked }) {
    this.centre = [...centre];
    this.times = times;
    this.marked = marked;
    this.redraw();
  }

  value() {
    return null;
  }

  redraw() {
    const { canvas, context } = this;
    if (!this.image) return;
    const dpr = globalThis.devicePixelRatio || 1;
    const size = [Math.round(canvas.clientWidth * dpr), Math.round(canvas.clientHeight * dpr)];
    if (canvas.width !== size[0]) canvas.width = size[0];
    if (canvas.height !== size[1]) canvas.height = size[1];
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    const scale = this.scale * dpr;
    const [left, top] = this.centre.map((each, axis) => size[axis] / 2 - each * scale);
    const [across, down] = this.pixel;
    context.setTransform(scale * across, 0, 0, scale * down, left, top);
    context.imageSmoothingEnabled = scale * across < 3;
    const [width, height] = this.size;
    context.drawImage(this.instead ?? this.image, 0, 0, width, height);
    context.drawImage(this.layer, 0, 0);
  }
}
