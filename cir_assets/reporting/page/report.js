"use strict";
(() => {
  const text = document.getElementById("data").textContent;
  const dark = JSON.parse(text).dark;
  const root = document.documentElement;
  const button = document.getElementById("theme");

  function draw() {
    const isDark = root.dataset.theme === "dark";
    const coloured = isDark ? text.replace(/#[0-9a-f]{6}/g, (colour) => dark[colour] || colour) : text;
    for (const [name, chart] of Object.entries(JSON.parse(coloured).charts)) {
      Plotly.react(name, chart.data, chart.layout, { responsive: true, displaylogo: false, displayModeBar: false });
    }
  }

  function choose(theme) {
    root.dataset.theme = theme;
    button.textContent = theme === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-pressed", String(theme === "dark"));
    draw();
  }

  button.addEventListener("click", () => choose(root.dataset.theme === "dark" ? "light" : "dark"));
  choose(window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
})();
