// Parallel coordinates: a line per setting through its fields, coloured by its score.

function parallelSection(section, tables) {
  const { rows } = tables[section.table];
  const score = section.axes.length - 1;
  const settings = rows.map((row) => section.axes.map((axis) => row[axis.column]));
  const tip = html("div", { class: "tip", role: "status" });
  tip.hidden = true;
  const picture = svg("svg", { tabindex: "0", role: "img" });
  picture.setAttribute("aria-label", `${section.heading}. Arrow keys move through the settings, from the best.`);
  const slider = html("input", { type: "range", min: 1, max: rows.length, value: rows.length });
  const count = html("output");
  const scroller = html("div", { class: "scroll" }, picture);
  const figure = html("figure", {}, scroller, tip);
  const height = 380;
  let places = [];
  let chosen = -1;

  function axisScale(axis, values) {
    const [bottom, top] = [height - 24, 46];
    if (axis.labels) {
      const last = Math.max(1, axis.labels.length - 1);
      const pixel = (v) => bottom + (axis.labels.indexOf(cellText(v)) / last) * (top - bottom);
      const stride = Math.ceil(axis.labels.length / 14);
      return { pixel, ticks: axis.labels.filter((_, i) => i % stride === 0) };
    }
    const ends = limits(values, axis.log) ?? [0, 1];
    return scale(...ends, bottom, top, axis.log, 8);
  }

  function drawAxis(axis, index, x, { pixel, ticks }) {
    const parts = [svg("line", { class: "axis", x1: x, x2: x, y1: 40, y2: height - 20 })];
    const anchor = index === score ? "end" : index ? "middle" : "start";
    parts.push(svg("text", { x: index === score ? x + 54 : index ? x : 4, y: index % 2 ? 14 : 30, "text-anchor": anchor, "font-weight": 600 }, axis.name));
    for (const tick of ticks) {
      const words = typeof tick === "number" ? rounded(tick) : tick;
      parts.push(svg("text", { class: "halo", x: x + 12, y: pixel(tick) + 4 }, words.length > 14 ? `${words.slice(0, 13)}\u2026` : words));
      parts.push(svg("line", { class: "axis", x1: x - 3, x2: x + 3, y1: pixel(tick), y2: pixel(tick) }));
    }
    if (index === score) {
      for (let part = 0; part < 50; part++) {
        const y = 46 + (part / 50) * (height - 70);
        parts.push(svg("rect", { x: x - 1, y, width: 9, height: (height - 70) / 50 + 0.5, fill: gradient(1 - (part + 0.5) / 50) }));
      }
    }
    return parts;
  }

  function draw() {
    const width = Math.max(scroller.clientWidth, 110 * section.axes.length);
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.style.width = `${width}px`;
    const xs = section.axes.map((_, i) => 16 + (i * (width - 90)) / Math.max(1, score));
    const scales = section.axes.map((axis, i) => axisScale(axis, settings.map((s) => s[i])));
    const [low, high] = limits(settings.map((s) => s[score]), false) ?? [0, 1];
    places = settings.map((setting) => setting.map((value, i) =>
      [xs[i], typeof value === "number" || section.axes[i].labels ? scales[i].pixel(value) : NaN]));
    const number = Number(slider.value);
    count.textContent = ` ${number} of ${rows.length}`;
    const line = (index, width, opacity) => {
      const value = settings[index][score];
      const known = typeof value === "number";
      const points = places[index].filter(([, y]) => Number.isFinite(y)).map((p) => p.map((v) => v.toFixed(1)).join(","));
      return svg("polyline", {
        class: "curve", points: points.join(" "), "stroke-width": width, "stroke-opacity": opacity,
        stroke: known ? gradient((value - low) / (high - low)) : "var(--faint)", "stroke-dasharray": known ? "" : "3 3",
      });
    };
    const opacity = number > 100 ? 0.45 : 0.8;
    const lines = settings.slice(0, number).map((_, index) => line(index, 1.6, chosen < 0 ? opacity : 0.15)).reverse();
    if (chosen >= 0 && chosen < number) lines.push(line(chosen, 4, 1));
    picture.replaceChildren(...lines, ...section.axes.flatMap((axis, i) => drawAxis(axis, i, xs[i], scales[i])));
  }

  function choose(index, x, y) {
    chosen = index;
    draw();
    if (index < 0) { tip.hidden = true; return; }
    const words = section.axes.map((axis, i) => `${axis.name} ${cellText(settings[index][i])}`);
    tip.replaceChildren(html("p", { class: "near" }, `rank ${index + 1}`), ...words.map((text) => html("p", {}, text)));
    placeTip(tip, figure, x, y);
  }

  // Vertical distance of a setting's line from a point.
  function distance(index, x, y) {
    const points = places[index];
    const right = Math.max(1, points.findIndex(([px]) => px >= x));
    const [[x0, y0], [x1, y1]] = [points[right - 1], points[right]];
    const gap = Math.abs(y0 + ((x - x0) / (x1 - x0)) * (y1 - y0) - y);
    return Number.isNaN(gap) ? Infinity : gap;
  }

  picture.addEventListener("pointermove", (event) => {
    const [box, outer] = [picture, figure].map((node) => node.getBoundingClientRect());
    const ratio = picture.viewBox.baseVal.width / box.width;
    const [x, y] = [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
    const gaps = settings.slice(0, Number(slider.value)).map((_, index) => distance(index, x, y));
    const nearest = gaps.indexOf(Math.min(...gaps));
    choose(gaps[nearest] < 16 ? nearest : -1, event.clientX - outer.left, event.clientY - outer.top);
  });
  picture.addEventListener("pointerleave", () => choose(-1));
  picture.addEventListener("blur", () => choose(-1));
  picture.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return choose(-1);
    const move = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (!move) return undefined;
    event.preventDefault();
    const shown = Number(slider.value);
    return choose(chosen < 0 ? 0 : (chosen + move + shown) % shown, figure.clientWidth / 2, 0);
  });
  slider.addEventListener("input", () => choose(-1));
  redraw(scroller, draw);
  const label = html("label", {}, "best settings ", slider, count);
  return [html("h2", {}, section.heading), html("div", { class: "scales" }, label), figure,
    ...section.notes.map((text) => html("p", { class: "note" }, text))];
}
