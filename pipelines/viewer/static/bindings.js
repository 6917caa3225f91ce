// Which key does what; keys.js has the words for it.

const nextOf = (values, value) => values[(values.indexOf(value) + 1) % values.length];

export function bindings({ state, stage, list, open, actions, labelActions, brushActions, correct, currentStyle, switchAll, switchTheme, resized, escape, search }) {
  return {
    n: () => open(list().beside(1)), p: () => open(list().beside(-1)), "/": search,
    a: () => actions.view("axial"), c: () => actions.view("coronal"), s: () => actions.view("sagittal"),
    m: () => actions.view("planes"), v: () => actions.view("solid"),
    ArrowUp: () => stage.step(1), ArrowDown: () => stage.step(-1), PageUp: () => stage.step(10), PageDown: () => stage.step(-10),
    Home: () => actions.most(),
    1: () => actions.window("lung"), 2: () => actions.window("mediastinum"), 3: () => actions.window("bone"), 4: () => actions.window("free"),
    "+": () => stage.zoom(1.3), "=": () => stage.zoom(1.3), "-": () => stage.zoom(1 / 1.3), 0: () => stage.reset(),
    r: () => state.facts && actions.tool("ruler"), h: () => state.style && switchAll(), o: () => state.style && labelActions.outline(!state.style.outline),
    x: () => actions.overlay(), d: () => actions.difference(),
    b: () => state.layers?.length > 1 && actions.split(nextOf(["first", "second", "both"], state.split)),
    e: () => correct(), l: () => state.brush && brushActions.label(nextOf([...state.style.values.keys()], state.brush.label)),
    w: () => state.brush && brushActions.label(0), "[": () => resized(-1), "]": () => resized(1),
    "ctrl+z": () => brushActions.undo(), "ctrl+s": () => brushActions.save(),
    t: switchTheme, "?": () => document.getElementById("help").showModal(), Escape: escape,
    ...Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`shift+${i + 1}`, () => {
      const label = state.style && currentStyle().values.get(i + 1);
      if (label) labelActions.show(i + 1, !label.shown);
    }])),
  }; // prettier-ignore
}
