// The scheme that was chosen here, before anything is painted. Without a choice it is the system's.
"use strict";
try {
  const chosen = localStorage.getItem("passerby-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // a browser that keeps nothing follows the system
}
