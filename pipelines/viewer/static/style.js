// How labels look: Okabe and Ito's colours, told apart by colour-blind readers, and in grey by their lightness.

const LABELS = [
  [86, 180, 233], // sky blue: the lung, as in all pictures of this project
  [230, 159, 0], // orange: the lesion
  [0, 158, 115],
  [204, 121, 167],
  [240, 228, 66],
  [213, 94, 0],
];
// Of two masks; in grey from dark to light.
export const DIFFERENCES = [
  { value: 1, key: "first", colour: [213, 94, 0] },
  { value: 2, key: "second", colour: [86, 180, 233] },
  { value: 3, key: "both", colour: [240, 228, 66] },
];

export const colourOf = (value) => LABELS[(value - 1) % LABELS.length];
export const css = ([r, g, b], alpha = 1) => `rgb(${r} ${g} ${b} / ${alpha})`;

// A style says for each value of a mask its colour, whether it is shown, and how opaque it is.
export function newStyle(labels) {
  const values = new Map();
  for (const { value, name } of labels) {
    values.set(value, { name, colour: colourOf(value), shown: true, opacity: 0.9 });
  }
  return { values, outline: true };
}

export function differenceStyle(titles) {
  const values = new Map();
  for (const { value, key, colour } of DIFFERENCES) {
    values.set(value, { name: titles[key], colour, shown: true, opacity: 0.9 });
  }
  return { values, outline: false };
}

const FILLED = 0.55; // of the opacity: what lies under a filled label is to be seen

const AROUND = 0.04; // in 3D, of labels below the highest: what lies in an organ is to be seen through it

// 256 colours with their opacity, RGBA.
export function table(style, solid = false) {
  const highest = Math.max(...style.values.keys());
  const part = style.outline || solid ? 1 : FILLED;
  const found = new Uint8ClampedArray(256 * 4);
  for (const [value, { colour, shown, opacity }] of style.values) {
    found.set([...colour, shown ? Math.round(255 * opacity * (solid && value < highest ? AROUND : part)) : 0], 4 * value);
  }
  return found;
}

// What is drawn of one slice of a mask as an outline: voxels beside one of a lower value, so that what lies in an organ
// has a line of its own and the organ none along it.
export function outlineSlice(mask, drawn, width, height, z) {
  const start = z * width * height;
  for (let y = 0, i = start; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const value = mask[i];
      drawn[i] =
        value !== 0 &&
        ((x > 0 ? mask[i - 1] : 0) < value ||
          (x < width - 1 ? mask[i + 1] : 0) < value ||
          (y > 0 ? mask[i - width] : 0) < value ||
          (y < height - 1 ? mask[i + width] : 0) < value)
          ? value
          : 0;
    }
  }
}
