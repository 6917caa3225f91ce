// Elements by script. Text is always text: a file's name cannot become a part of the page.

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (key === "style") Object.assign(made.style, value);
    else if (key === "data") Object.assign(made.dataset, value);
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key in made && !key.startsWith("aria")) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false));
  return made;
}

export function button(text, title, onclick, properties = {}) {
  return element("button", { type: "button", title, onclick, ...properties }, text);
}

// A row of buttons of which one is pressed.
export function choice(name, options, chosen, onchoose) {
  const made = options.map(([value, text, title]) =>
    button(text, title ?? text, () => onchoose(value), { "aria-pressed": String(value === chosen), data: { value } }),
  );
  return element("div", { className: "choice", role: "group", "aria-label": name }, made);
}
