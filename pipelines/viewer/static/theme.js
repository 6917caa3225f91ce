// Before anything is drawn: what was chosen last, or else what the system wants.
try {
  const chosen = sessionStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch {
  // storage is switched off
}
