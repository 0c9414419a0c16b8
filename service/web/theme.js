// The theme: the system's until the reader chooses one. Loaded before the page is drawn.

const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
}

try {
  root.dataset.theme = localStorage.getItem("theme") ?? "";
} catch {
  // no storage: the choice lasts as long as the page
}

document.addEventListener("DOMContentLoaded", () => {
  const button = document.getElementById("theme");
  const show = () => (button.textContent = isDark() ? "Light theme" : "Dark theme");
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("theme", root.dataset.theme);
    } catch {
      // as above
    }
    show();
  });
  system.addEventListener("change", show);
  show();
});
