// A volume in NiiVue, and a mask upon it. The server gives both in one order (right, front, up), so that a voxel's index
// is the same here, in NiiVue and in the mask.
//
// The mask is NiiVue's drawing: one byte a voxel, while an overlay would take four and be made anew with each switch.
// Parts of NiiVue that no interface promises are used here and nowhere else: drawBitmap, drawTexture, drawLut,
// refreshColormaps, screenSlices, screenXY2TextureFrac, frac2vox, vox2frac, frac2mm, uiData.dpr, scene.

import { outlineSlice, table } from "./style.js";

const { Niivue, NVImage, SLICE_TYPE } = globalThis.niivue;

export const VIEWS = {
  axial: SLICE_TYPE.AXIAL,
  coronal: SLICE_TYPE.CORONAL,
  sagittal: SLICE_TYPE.SAGITTAL,
  planes: SLICE_TYPE.MULTIPLANAR,
  solid: SLICE_TYPE.RENDER,
};
const FIXED = { 0: 2, 1: 1, 2: 0 }; // NiiVue's number of a plane: the axis that it fixes
const DRAWING = 33991; // gl.TEXTURE7: where NiiVue has its drawing

export class Volume {
  kind = "volume";
  mask = null;

  constructor(host) {
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    host.append(this.canvas);
    this.nv = new Niivue({
      interactive: false, // surface.js has mouse, pen and fingers
      dragAndDropEnabled: false,
      isRadiologicalConvention: true,
      sagittalNoseLeft: true,
      isResizeCanvas: true,
      loadingText: "",
      logLevel: "error",
      backColor: [0, 0, 0, 1],
      crosshairColor: [1, 1, 1, 0.6],
      crosshairWidth: 1,
      fontColor: [0.8, 0.8, 0.8, 1],
      fontMinPx: 11,
      fontSizeScaling: 0.3,
      multiplanarForceRender: false,
      multiplanarShowRender: 0,
      isForceMouseClickToVoxelCenters: true,
      trustCalMinMax: true,
      viewModeHotKey: "",
      clipPlaneHotKey: "",
      cycleClipPlaneHotKey: "",
    });
  }

  async open(facts, data) {
    this.facts = facts;
    await this.nv.attachToCanvas(this.canvas, false);
    const image = await NVImage.loadFromUrl({ url: data.buffer, name: "image.nii" });
    if (this.closed) throw new DOMException("another case was opened meanwhile", "AbortError");
    this.nv.addVolume(image);
    this.nv.setInterpolation(false);
    this.nv.createEmptyDrawing();
    this.nv.clickToSegmentGrowingBitmap = null; // another byte a voxel that nothing here needs
    this.drawn = this.nv.drawBitmap;
    this.setView("axial");
  }

  close() {
    this.closed = true;
    this.nv.gl?.getExtension("WEBGL_lose_context")?.loseContext();
    this.nv.cleanup();
    this.canvas.remove();
  }

  get voxel() {
    return Array.from(this.nv.frac2vox(this.nv.scene.crosshairPos));
  }

  setView(name) {
    this.viewName = name;
    // In 3D the mask is what is looked at: the image is a shade around it.
    const solid = name === "solid";
    this.nv.opts.crosshairWidth = name === "planes" ? 0.6 : 0; // it says where the other planes lie
    this.nv.setSliceType(VIEWS[name]);
    if (solid !== this.wasSolid && this.window) {
      this.wasSolid = solid;
      this.setWindow(this.window);
      if (this.mask) this.restyle();
    }
  }

  setWindow({ low, high }) {
    this.window = { low, high };
    const image = this.nv.volumes[0];
    const solid = this.viewName === "solid";
    image.cal_min = solid ? high : low;
    image.cal_max = solid ? high + 1.5 * (high - low) : high;
    image._opacity = solid ? 0.35 : 1;
    this.nv.updateGLVolume();
  }

  // The mask is kept, not copied: a brush writes into it and says so by `touched`.
  setMask(mask, style) {
    this.mask = mask;
    this.restyle(style);
  }

  restyle(style = this.style) {
    const [width, height, depth] = this.facts.shape;
    const outline = style.outline && this.viewName !== "solid";
    const again = this.mask && (this.shown !== this.mask || this.outlined !== outline);
    this.style = style;
    this.nv.drawLut = { lut: table(style, this.viewName === "solid"), labels: Array.from({ length: 256 }, (_, i) => `${i}`) };
    if (again) {
      if (outline) for (let z = 0; z < depth; z++) outlineSlice(this.mask, this.drawn, width, height, z);
      else this.drawn.set(this.mask);
      this.shown = this.mask;
      this.outlined = outline;
    } else if (!this.mask) {
      this.drawn.fill(0);
    }
    this.nv.drawOpacity = 1;
    this.nv.refreshColormaps();
    this.nv.refreshDrawing(true);
  }

  // Voxels of the slices first to last (axial) were changed in the mask.
  touched(first, last) {
    const [width, height] = this.facts.shape;
    for (let z = first; z <= last; z++) {
      if (this.outlined) outlineSlice(this.mask, this.drawn, width, height, z);
      else this.drawn.set(this.mask.subarray(z * width * height, (z + 1) * width * height), z * width * height);
    }
    const { gl } = this.nv;
    gl.activeTexture(DRAWING);
    gl.bindTexture(gl.TEXTURE_3D, this.nv.drawTexture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    const slab = this.drawn.subarray(first * width * height, (last + 1) * width * height);
    gl.texSubImage3D(
      gl.TEXTURE_3D, 0, 0, 0, first, width, height, last - first + 1, gl.RED, gl.UNSIGNED_BYTE, slab,
    ); // prettier-ignore
    this.nv.drawScene();
  }

  // What lies under a point of the canvas (CSS pixels): its voxel, place in mm, and plane; null outside the slices.
  at(x, y) {
    const { nv } = this;
    const dpr = nv.uiData.dpr ?? 1;
    for (let i = 0; i < nv.screenSlices.length; i++) {
      const plane = nv.screenSlices[i].axCorSag;
      if (plane > 2) continue;
      const frac = nv.screenXY2TextureFrac(x * dpr, y * dpr, i, true);
      if (frac[0] < 0) continue;
      const voxel = Array.from(nv.frac2vox(frac));
      return { voxel, plane: FIXED[plane], mm: Array.from(nv.frac2mm(frac, 0, true)).slice(0, 3) };
    }
    return null;
  }

  // Voxels to a CSS pixel, along the first axis of the slice; for the brush's ring.
  scaleAt(x, y) {
    const one = this.at(x, y);
    for (const step of [24, -24]) {
      const two = this.at(x + step, y);
      if (!one || !two || one.plane !== two.plane) continue;
      const apart = Math.hypot(...one.mm.map((each, axis) => each - two.mm[axis]));
      if (apart > 0) return 24 / apart; // CSS pixels to a millimetre
    }
    return null;
  }

  goTo(voxel) {
    const [x, y, z] = voxel.map((each, axis) => Math.min(Math.max(each, 0), this.facts.shape[axis] - 1));
    this.nv.scene.crosshairPos = this.nv.vox2frac([x, y, z]);
    this.nv.drawScene();
  }

  step(axis, by) {
    const voxel = this.voxel;
    voxel[axis] += by;
    this.goTo(voxel);
  }

  // The axis that the wheel moves along where the pointer is, or the view's own.
  axisAt(x, y) {
    return this.at(x, y)?.plane ?? FIXED[VIEWS[this.viewName]] ?? 2;
  }

  // Around a point of the canvas, or else around the place that is shown.
  zoom(factor, x, y) {
    const pan = this.nv.scene.pan2Dxyzmm;
    if (this.viewName === "solid") {
      this.nv.setScale(Math.min(Math.max(this.nv.scene.volScaleMultiplier * factor, 0.3), 8));
      return;
    }
    const now = Math.min(Math.max(pan[3] * factor, 0.5), 20);
    const here = (x === undefined ? null : this.at(x, y))?.mm ?? Array.from(this.nv.frac2mm(this.nv.scene.crosshairPos, 0, true));
    const moved = [0, 1, 2].map((axis) => pan[axis] + (pan[3] - now) * here[axis]);
    this.nv.setPan2Dxyzmm([...moved, now]);
  }

  pan(from, to) {
    const start = this.at(...from);
    const end = this.at(...to);
    if (!start || !end || start.plane !== end.plane) return;
    const pan = this.nv.scene.pan2Dxyzmm;
    this.nv.setPan2Dxyzmm([...[0, 1, 2].map((axis) => pan[axis] + pan[3] * (end.mm[axis] - start.mm[axis])), pan[3]]);
  }

  rotate(dx, dy) {
    const { scene } = this.nv;
    this.nv.setRenderAzimuthElevation(scene.renderAzimuth + dx, scene.renderElevation + dy);
  }

  reset() {
    this.nv.setPan2Dxyzmm([0, 0, 0, 1]);
    this.nv.setScale(1);
  }

  get place() {
    const { pan2Dxyzmm, renderAzimuth, renderElevation, volScaleMultiplier } = this.nv.scene;
    return { voxel: this.voxel, pan: Array.from(pan2Dxyzmm), turn: [renderAzimuth, renderElevation, volScaleMultiplier] };
  }

  set place({ voxel, pan, turn }) {
    this.nv.scene.crosshairPos = this.nv.vox2frac(voxel);
    if (pan) this.nv.scene.pan2Dxyzmm = Float32Array.from(pan);
    if (turn) [this.nv.scene.renderAzimuth, this.nv.scene.renderElevation, this.nv.scene.volScaleMultiplier] = turn;
    this.nv.drawScene();
  }

  value(voxel) {
    const [width, height] = this.facts.shape;
    return this.nv.volumes[0].img[voxel[0] + width * (voxel[1] + height * voxel[2])];
  }

  redraw() {
    this.nv.resizeListener();
  }
}
