// A brush on a mask: discs along a stroke in the plane of a slice, and a way back.

const MOST_STROKES = 100; // that can be undone

export class Brush {
  size = 6; // diameter, in pixels of the slice
  label = 1; // 0 erases
  strokes = [];

  constructor(mask, facts) {
    this.mask = mask;
    this.shape = facts.shape;
    this.spacing = facts.spacing ?? [1, 1, 1];
    this.dirty = false;
  }

  // Millimetres (pixels of a picture) from the middle of the brush to its edge.
  get radius() {
    return (this.size / 2) * Math.min(this.spacing[0], this.spacing[1]);
  }

  begin() {
    this.stroke = new Map(); // index: what was there
    this.last = null;
  }

  // Paints from where the stroke was to a voxel; returns the first and last axial slice that changed, or null.
  to(voxel, axis) {
    if (!this.last || this.last.axis !== axis || this.last.voxel[axis] !== voxel[axis]) this.last = { voxel, axis };
    const from = this.last.voxel;
    const steps = Math.max(1, ...voxel.map((each, i) => Math.abs(each - from[i])));
    const seen = { first: Infinity, last: -Infinity };
    for (let step = 0; step <= steps; step++) {
      this.disc(voxel.map((each, i) => Math.round(from[i] + ((each - from[i]) * step) / steps)), axis, seen);
    }
    this.last = { voxel, axis };
    return seen.last < 0 ? null : [seen.first, seen.last];
  }

  disc(centre, axis, seen) {
    const [a, b] = [0, 1, 2].filter((each) => each !== axis);
    const [width, height] = this.shape;
    const { radius } = this;
    const reach = [a, b].map((each) => Math.floor(radius / this.spacing[each]));
    const point = [...centre];
    for (let i = -reach[0]; i <= reach[0]; i++) {
      for (let j = -reach[1]; j <= reach[1]; j++) {
        if ((i * this.spacing[a]) ** 2 + (j * this.spacing[b]) ** 2 > Math.max(radius * radius, 0)) continue;
        point[a] = centre[a] + i;
        point[b] = centre[b] + j;
        if (point.some((each, k) => each < 0 || each >= this.shape[k])) continue;
        const index = point[0] + width * (point[1] + height * point[2]);
        if (this.mask[index] === this.label) continue;
        if (!this.stroke.has(index)) this.stroke.set(index, this.mask[index]);
        this.mask[index] = this.label;
        seen.first = Math.min(seen.first, point[2]);
        seen.last = Math.max(seen.last, point[2]);
      }
    }
  }

  end() {
    if (this.stroke?.size) {
      this.strokes.push(this.stroke);
      if (this.strokes.length > MOST_STROKES) this.strokes.shift();
      this.dirty = true;
    }
    this.stroke = null;
  }

  undo() {
    const stroke = this.strokes.pop();
    if (!stroke) return null;
    const area = this.shape[0] * this.shape[1];
    let [first, last] = [Infinity, -Infinity];
    for (const [index, value] of stroke) {
      this.mask[index] = value;
      const z = Math.floor(index / area);
      first = Math.min(first, z);
      last = Math.max(last, z);
    }
    this.dirty = true;
    return [first, last];
  }
}
