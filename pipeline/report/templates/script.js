"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);

  // Theme: the system's unless chosen here.
  const theme = byId("theme");
  theme.addEventListener("change", () => {
    if (theme.value) document.documentElement.dataset.theme = theme.value;
    else delete document.documentElement.dataset.theme;
  });

  // Tables: sort by a column; empty cells stay at the end either way.
  const sortBy = (button) => {
    const heading = button.closest("th");
    const table = heading.closest("table");
    const column = heading.cellIndex;
    const descending = heading.getAttribute("aria-sort") === "ascending";
    const sign = descending ? -1 : 1;
    const value = (row) => row.cells[column].dataset.value;
    const numeric = heading.classList.contains("number");
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      return sign * (numeric ? Number(x) - Number(y) : x.localeCompare(y, "en", { numeric: true }));
    });
    all("th", table.tHead).forEach((other) => other.setAttribute("aria-sort", "none"));
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    table.tBodies[0].append(...rows);
  };
  all("thead button").forEach((button) => button.addEventListener("click", () => sortBy(button)));

  // Tables: show or hide rows by text or /regex/, and hide rows that are equal everywhere.
  const matcher = (text) => {
    const regex = /^\/(.+)\/$/.exec(text);
    if (regex) {
      try { const pattern = new RegExp(regex[1], "i"); return (row) => pattern.test(row); } catch { return () => true; }
    }
    return (row) => row.toLowerCase().includes(text.toLowerCase());
  };
  const refresh = (block) => {
    const [filter, invert, hide] = ["[data-filter]", "[data-invert]", "[data-hide]"].map((s) => block.querySelector(s));
    const matches = filter && filter.value ? matcher(filter.value) : null;
    const rows = all("tbody tr", block);
    for (const row of rows) {
      const unmatched = matches && matches(row.textContent) === invert.checked;
      row.hidden = Boolean(unmatched || (hide && hide.checked && "same" in row.dataset));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    const count = block.querySelector(".count");
    if (count) count.textContent = shown < rows.length ? `${shown} of ${rows.length} rows` : "";
  };
  for (const block of all(".block")) {
    all("[data-filter], [data-invert], [data-hide]", block).forEach((e) => e.addEventListener("input", () => refresh(block)));
    refresh(block);
  }

  // Tables: save what is shown, in its order; numbers in full, not as printed.
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const csvOf = (table) => all("tr", table).filter((row) => !row.hidden).map((row) => [...row.cells].map((cell) => {
    const value = cell.dataset.value;
    return quoted(value === undefined || value === "" ? cell.firstElementChild?.textContent ?? cell.textContent : value);
  }).join(",")).join("\r\n");
  const save = (text, type, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  for (const button of all("[data-csv]")) {
    const table = button.closest(".block, figure").querySelector("table");
    button.addEventListener("click", () => save(csvOf(table), "text/csv", `${button.dataset.csv}.csv`));
  }

  // Pickers: show one figure, or all.
  for (const picker of all(".picker")) {
    const select = picker.querySelector("select");
    const choose = () => all("figure", picker).forEach((figure) => {
      figure.hidden = Boolean(select.value) && figure.id !== select.value;
    });
    select.addEventListener("change", choose);
    choose();
  }

  // Figures: a still SVG until someone points at it; then Vega, loaded once from this page, takes its place.
  const loadVega = () => {
    if (window.vegaEmbed) return;
    const script = document.createElement("script");
    script.textContent = byId("vega").textContent;
    document.head.append(script);
  };
  const hydrate = async (plot) => {
    if (plot.dataset.live) return;
    plot.dataset.live = "loading";
    loadVega();
    const spec = JSON.parse(byId(`spec-${plot.dataset.figure}`).textContent);
    const stage = document.createElement("div");
    // No export menu: its pictures would lack the page's colours. "Save as SVG" keeps the still one.
    await window.vegaEmbed(stage, spec, { renderer: "svg", actions: false });
    plot.replaceChildren(stage);
    plot.dataset.live = "yes";
  };
  const hydrateOrSay = (plot) => hydrate(plot).catch((error) => {
    plot.dataset.live = "failed";
    plot.closest("figure").querySelector(".reading").textContent = `The figure stays still: ${error.message}`;
  });

  // Figures: arrow keys walk through the marks and read each aloud.
  const walk = (plot, event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step || event.target !== plot) return;
    const marks = all('[role="graphics-symbol"][aria-roledescription]', plot)
      .filter((mark) => !["axis", "legend", "title"].includes(mark.getAttribute("aria-roledescription")) && mark.ariaLabel);
    if (!marks.length) return;
    event.preventDefault();
    const current = marks.findIndex((mark) => mark.ariaCurrent === "true");
    if (current >= 0) marks[current].ariaCurrent = null;
    const next = marks[(current + step + marks.length) % marks.length];
    next.ariaCurrent = "true";
    plot.closest("figure").querySelector(".reading").textContent = next.ariaLabel;
  };
  for (const plot of all(".plot")) {
    const still = plot.innerHTML;
    const name = plot.dataset.figure;
    plot.closest("figure").querySelector("[data-svg]").addEventListener("click", () => save(still, "image/svg+xml", `${name}.svg`));
    plot.addEventListener("pointerenter", () => hydrateOrSay(plot));
    plot.addEventListener("focus", () => hydrateOrSay(plot));
    plot.addEventListener("keydown", (event) => walk(plot, event));
  }
  document.documentElement.dataset.ready = "yes";
})();
