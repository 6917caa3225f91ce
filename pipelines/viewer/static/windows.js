// Windows of Hounsfield units: what is black and what is white.

export const WINDOWS = {
  lung: { title: "Lung", low: -1350, high: 150 },
  mediastinum: { title: "Mediastinum", low: -160, high: 240 },
  bone: { title: "Bone", low: -500, high: 1300 },
};
export const PLAIN = { low: 0, high: 255 };
export const RANGE = { hu: { least: -1500, most: 3000 }, display: { least: 0, most: 255 } };

// Level and width of a window, as radiologists say it.
export const words = ({ low, high }) => `L ${Math.round((low + high) / 2)} W ${Math.round(high - low)}`;
