// The curve of a label along the slices, from the feet (left) to the head (right): click, or arrow keys, to go there.

const NAMESPACE = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [1000, 100, 46, 16, 8];

function drawn(name, attributes, text) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

export class Curve {
  constructor(host, ongo) {
    this.host = host;
    this.ongo = ongo;
  }

  // curves: [{title, values: [a number or null a slice], dashed}]; numbers: the slices' numbers in the file.
  show(curves, numbers) {
    this.host.hidden = !curves.length || numbers.length < 2;
    this.host.replaceChildren();
    if (this.host.hidden) return;
    this.count = numbers.length;
    const highest = Math.max(...curves.flatMap((each) => each.values.map((one) => one ?? 0)), 0.01);
    const top = [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1].find((each) => each >= highest) ?? 1;
    const svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", tabindex: 0, role: "slider" });
    svg.setAttribute("aria-label", `${curves[0].title}, by slice`);
    svg.setAttribute("aria-valuemin", 0);
    svg.setAttribute("aria-valuemax", this.count - 1);
    for (const part of [0, 0.5, 1]) {
      svg.append(drawn("line", { x1: LEFT, x2: WIDTH, y1: this.y(part), y2: this.y(part), class: "grid" }));
    }
    for (const { values, dashed } of curves) {
      for (const path of this.paths(values, top)) svg.append(drawn("path", { d: path.line, class: dashed ? "line second" : "line" }), ...(dashed ? [] : [drawn("path", { d: path.area, class: "area" })]));
    }
    this.here = drawn("line", { y1: TOP - 4, y2: HEIGHT - BOTTOM, class: "here" });
    svg.append(this.here);
    svg.addEventListener("pointerdown", (event) => {
      svg.setPointerCapture(event.pointerId);
      this.go(event);
    });
    svg.addEventListener("pointermove", (event) => event.buttons && this.go(event));
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      this.ongo(Math.min(Math.max((this.at ?? 0) + step, 0), this.count - 1));
    });
    this.svg = svg;
    const label = document.createElement("figcaption");
    label.textContent = `${curves.map((each) => each.title).join("; ")} – by slice, feet to head`;
    const most = document.createElement("span");
    most.className = "scale";
    most.textContent = `${100 * top} %`;
    this.host.append(label, most, svg);
  }

  x(z) {
    return LEFT + ((z + 0.5) / this.count) * (WIDTH - LEFT);
  }

  y(part) {
    return HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP);
  }

  // Runs of slices that have a value, as lines and as areas.
  paths(values, top) {
    const runs = [];
    values.forEach((value, z) => {
      if (value === null) return;
      if (z === 0 || values[z - 1] === null) runs.push([]);
      runs.at(-1).push([this.x(z), this.y(Math.min(value / top, 1))]);
    });
    return runs.map((run) => {
      const line = `M${run.map((each) => each.map((one) => one.toFixed(1)).join(" ")).join("L")}`;
      return { line, area: `${line}L${run.at(-1)[0].toFixed(1)} ${this.y(0)}L${run[0][0].toFixed(1)} ${this.y(0)}Z` };
    });
  }

  go(event) {
    const box = this.svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    const z = Math.floor(((x - LEFT) / (WIDTH - LEFT)) * this.count);
    this.ongo(Math.min(Math.max(z, 0), this.count - 1));
  }

  mark(z, text) {
    this.at = z;
    if (this.host.hidden || !this.here) return;
    this.here.setAttribute("x1", this.x(z));
    this.here.setAttribute("x2", this.x(z));
    this.svg.setAttribute("aria-valuenow", z);
    this.svg.setAttribute("aria-valuetext", text);
  }
}
