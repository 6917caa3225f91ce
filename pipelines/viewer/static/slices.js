// A large volume slice by slice on a canvas: it is seen at once, while NiiVue would first make textures of some gigabytes.
// Planes are shown as NiiVue shows them: the patient's right, or front, at the left, and the head above.

import { Picture } from "./picture.js";

const AXES = { axial: 2, coronal: 1, sagittal: 0 };
const SMALLEST = 60e6; // voxels: a chest of 230 slices of 512 x 512
const SMALLEST_BY_SOFTWARE = 8e6; // where no graphics card draws
const HEADER = 352; // bytes of the NIfTI header that the server writes

let software = null;

function drawnBySoftware() {
  if (software === null) {
    const gl = document.createElement("canvas").getContext("webgl2");
    const about = gl?.getExtension("WEBGL_debug_renderer_info");
    software = !gl || /swiftshader|llvmpipe|software/i.test(about ? gl.getParameter(about.UNMASKED_RENDERER_WEBGL) : "");
    gl?.getExtension("WEBGL_lose_context")?.loseContext();
  }
  return software;
}

export function isLarge({ kind, shape }) {
  const voxels = shape[0] * shape[1] * shape[2];
  return kind === "volume" && (voxels > SMALLEST || (voxels > SMALLEST_BY_SOFTWARE && drawnBySoftware()));
}

export const inSlices = (view) => view in AXES;

export class Slices extends Picture {
  kind = "volume";
  axis = 2;
  part = 800;
  viewName = "axial";

  async open(facts, data) {
    const Kind = facts.intensity === "hu" ? Int16Array : Uint8Array;
    this.voxels = new Kind(data.buffer, data.byteOffset + HEADER, facts.shape[0] * facts.shape[1] * facts.shape[2]);
    this.marked = facts.shape.map((each) => Math.floor(each / 2));
    this.window = { low: 0, high: 255 };
    await super.open(facts, null);
  }

  get sides() {
    return this.axis === 2 ? [0, 1] : this.axis === 1 ? [0, 2] : [1, 2];
  }

  get size() {
    return this.sides.map((axis) => this.facts.shape[axis]);
  }

  get pixel() {
    return this.sides.map((axis) => this.facts.spacing[axis]);
  }

  toVoxel(column, row) {
    const voxel = [...this.marked];
    const [across, down] = this.sides;
    voxel[across] = this.facts.shape[across] - 1 - column;
    voxel[down] = this.facts.shape[down] - 1 - row;
    return voxel;
  }

  // Values of the slice that is shown, as they are seen: row by row from above.
  cut(values) {
    const [width, height] = this.size;
    const steps = [1, this.facts.shape[0], this.facts.shape[0] * this.facts.shape[1]];
    const [across, down] = this.sides.map((axis) => steps[axis]);
    const start = this.marked[this.axis] * steps[this.axis];
    const found = new values.constructor(width * height);
    for (let row = 0, i = 0; row < height; row++) {
      let index = start + (height - 1 - row) * down + (width - 1) * across;
      for (let column = 0; column < width; column++, index -= across) found[i++] = values[index];
    }
    return found;
  }

  get plane() {
    return this.cut(this.mask);
  }

  setView(name) {
    if (!inSlices(name)) return;
    this.viewName = name;
    this.axis = AXES[name];
    this.fit();
    this.renew();
  }

  setWindow({ low, high }) {
    this.window = { low, high };
    this.renew();
  }

  // Another slice, plane or window.
  renew() {
    const [width, height] = this.size;
    const values = this.cut(this.voxels);
    const { low, high } = this.window;
    const pixels = new ImageData(width, height);
    const grey = new Uint32Array(pixels.data.buffer);
    const factor = 255 / Math.max(high - low, 1);
    for (let i = 0; i < values.length; i++) {
      const level = Math.min(Math.max((values[i] - low) * factor, 0), 255) | 0;
      grey[i] = 0xff000000 | (level << 16) | (level << 8) | level;
    }
    this.image = new OffscreenCanvas(width, height);
    this.image.getContext("2d").putImageData(pixels, 0, 0);
    this.touched();
  }

  goTo(voxel) {
    this.marked = voxel.map((each, axis) => Math.min(Math.max(each, 0), this.facts.shape[axis] - 1));
    this.renew();
  }

  step(axis, by) {
    const voxel = [...this.marked];
    voxel[axis] += by;
    this.goTo(voxel);
  }

  axisAt() {
    return this.axis;
  }

  set place({ centre, times, marked, voxel }) {
    if (centre) Object.assign(this, { centre: [...centre], times });
    this.goTo(marked ?? voxel);
  }

  get place() {
    return { ...super.place, voxel: this.marked };
  }

  value([x, y, z]) {
    return this.voxels[x + this.facts.shape[0] * (y + this.facts.shape[1] * z)];
  }
}
