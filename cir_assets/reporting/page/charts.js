"use strict";
/* What the report and the leaderboard share: charts, and the switch of colours that page and charts follow. */
const chartsAndColours = (data, narrowFont) => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const inTheme = (value) => {
    if (typeof value === "string") return isDark() && value in data.dark ? data.dark[value] : value;
    if (Array.isArray(value)) return value.map(inTheme);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, inTheme(each)]));
    }
    return value;
  };

  /* Charts: drawn when first seen, drawn anew when the colours change. */
  const drawn = new Set();
  const draw = (place) => {
    const chart = inTheme(data.charts[place.dataset.chart]);
    chart.layout.autosize = true;
    if (innerWidth < 560) chart.layout.font.size = narrowFont;
    if (!drawn.has(place)) place.replaceChildren();
    drawn.add(place);
    Plotly.react(place, chart.data, chart.layout, { responsive: true, displayModeBar: false });
  };
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting && !drawn.has(entry.target)) {
        draw(entry.target);
        seen.unobserve(entry.target);
      }
    }
  }, { rootMargin: "400px" });
  /* The charts' library is the last and largest script: the page can be read and searched before it. */
  addEventListener("DOMContentLoaded", () => document.querySelectorAll("[data-chart]").forEach((place) => seen.observe(place)));
  addEventListener("beforeprint", () => document.querySelectorAll("[data-chart]").forEach(draw));

  /* Light, dark, or as the system has it. */
  const themes = [["", "Auto", "as the system has them"], ["light", "Light", "light"], ["dark", "Dark", "dark"]];
  const button = document.getElementById("theme");
  const recolour = () => {
    for (const swatch of document.querySelectorAll(".swatch")) {
      swatch.dataset.light ??= swatch.style.getPropertyValue("--colour").trim();
      swatch.style.setProperty("--colour", inTheme(swatch.dataset.light));
    }
    drawn.forEach(draw);
  };
  const choose = (name) => {
    const [value, label, said] = themes.find(([each]) => each === name) ?? themes[0];
    if (value) root.dataset.theme = value; else delete root.dataset.theme;
    document.getElementById("theme-name").textContent = label;
    button.setAttribute("aria-label", `Colours: ${said}`);
    recolour();
  };
  /* A page opened from a file may be refused storage; then the choice lasts as long as the page. */
  const kept = { get: () => { try { return localStorage.getItem("theme") ?? ""; } catch { return ""; } },
    set: (value) => { try { localStorage.setItem("theme", value); } catch { /* not kept */ } } };
  button.addEventListener("click", () => {
    const now = themes.findIndex(([value]) => value === (root.dataset.theme ?? ""));
    const next = themes[(now + 1) % themes.length][0];
    kept.set(next);
    choose(next);
  });
  system.addEventListener("change", recolour);
  choose(kept.get());
};
