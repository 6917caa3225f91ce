// A brush on a mask: discs along a stroke in the plane of a slice, and a way back.

const MOST_STROKES = 100; // that can be undone

export class Brush {
  size = 6; // diameter, in pixels of the slice
  label = 1; // 0 erases
  strokes = []; // {mark, before}: a number of its own, and what was there by index
  saved = 0; // the mark of what is saved, or was there at the beginning
  oldest = 0; // the mark of the mask when everything that can be undone is undone
  #marks = 0;

  constructor(mask, facts) {
    this.mask = mask;
    this.shape = facts.shape;
    this.spacing = facts.spacing ?? [1, 1, 1];
  }

  // Millimetres (pixels of a picture) from the middle of the brush to its edge.
  get radius() {
    return (this.size / 2) * Math.min(this.spacing[0], this.spacing[1]);
  }

  // Which state of the mask this is: undoing a stroke gives back the mark of the state before it.
  get mark() {
    return this.strokes.at(-1)?.mark ?? this.oldest;
  }

  // Whether the mask is another than the saved one.
  get dirty() {
    return this.mark !== this.saved || this.stroke?.size > 0;
  }

  begin() {
    this.stroke = new Map();
    this.last = null;
  }

  // The pointer has left the image: where it comes back, a new line begins.
  lift() {
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
    const sides = [0, 1, 2].filter((each) => each !== axis);
    const [width, height] = this.shape;
    const { radius } = this;
    const reach = sides.map((each) => Math.floor(radius / this.spacing[each]));
    // The middle of an even number of voxels lies between two of them.
    const shift = sides.map((each) => (Math.round((2 * radius) / this.spacing[each]) % 2 ? 0 : 0.5));
    const [a, b] = sides;
    const point = [...centre];
    for (let i = -reach[0]; i <= reach[0]; i++) {
      for (let j = -reach[1]; j <= reach[1]; j++) {
        if (((i + shift[0]) * this.spacing[a]) ** 2 + ((j + shift[1]) * this.spacing[b]) ** 2 > radius * radius) continue;
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
      this.strokes.push({ mark: ++this.#marks, before: this.stroke });
      if (this.strokes.length > MOST_STROKES) this.oldest = this.strokes.shift().mark;
    }
    this.stroke = null;
  }

  // The mask and its mark, to be saved; a stroke that is being painted goes on as another one.
  copy() {
    const { stroke } = this;
    this.end();
    if (stroke) this.stroke = new Map();
    return { mask: this.mask.slice(), mark: this.mark };
  }

  undo() {
    const stroke = this.stroke ? null : this.strokes.pop();
    if (!stroke) return null;
    const area = this.shape[0] * this.shape[1];
    let [first, last] = [Infinity, -Infinity];
    for (const [index, value] of stroke.before) {
      this.mask[index] = value;
      const z = Math.floor(index / area);
      first = Math.min(first, z);
      last = Math.max(last, z);
    }
    return [first, last];
  }
}
