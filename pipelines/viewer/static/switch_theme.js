// Light or dark, for as long as the window is open; theme.js applies it before anything is drawn.

export function switchTheme() {
  const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  try {
    sessionStorage.setItem("theme", document.documentElement.dataset.theme);
  } catch {
    // storage is switched off
  }
}
