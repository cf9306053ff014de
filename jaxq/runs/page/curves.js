// Learning curves: a chart per measurement, with shared switches.

const MARGIN = { top: 10, right: 14, bottom: 40 };

// Lines with decoded numbers; `y` may have values that are nan or infinite.
function decodeChart(chart) {
  const lines = chart.lines.map((line) => {
    const { values: y, single } = decode(line.y);
    const none = y.map(() => NaN);
    const [low, high] = ["low", "high"].map((end) => (line[end] ? decode(line[end]).values : none));
    return { series: line.series, x: decode(chart.steps[line.steps]).values, y, low, high, single };
  });
  return { ...chart, lines };
}

function swatch(series) {
  const stroke = { stroke: color(series.color), "stroke-dasharray": dash(series.color) };
  const line = svg("line", { x1: 0, x2: 26, y1: 6, y2: 6, "stroke-width": series.bold ? 3 : 1.5, ...stroke });
  return svg("svg", { width: 26, height: 12, "aria-hidden": "true" }, line);
}

function curvesSection(section) {
  const state = { shown: new Set(), logX: false, logY: false, accent: -1 };
  section.series.forEach((series, index) => { if (!series.off) state.shown.add(index); });
  const charts = section.charts.map((chart) => curveChart(decodeChart(chart), section, state));
  const draw = () => charts.forEach((chart) => chart.draw());
  const controls = curveControls(section, state, draw);
  redraw(charts[0].figure, draw);
  return [
    html("h2", {}, section.heading), ...controls,
    html("div", { class: "charts" }, ...charts.map((chart) => chart.figure)),
    ...section.notes.map((text) => html("p", { class: "note" }, text)),
  ];
}

function curveControls(section, state, draw) {
  const boxes = section.series.map((series, index) => {
    const box = html("input", { type: "checkbox" });
    box.checked = state.shown.has(index);
    const label = html("label", { class: box.checked ? "" : "off" }, box, swatch(series), series.label);
    const accent = (on) => { state.accent = on ? index : -1; draw(); };
    label.addEventListener("pointerenter", () => accent(true));
    label.addEventListener("pointerleave", () => accent(false));
    box.addEventListener("change", () => {
      state.shown[box.checked ? "add" : "delete"](index);
      label.className = box.checked ? "" : "off";
      draw();
    });
    return { box, label, series };
  });
  const set = (value) => () => boxes.forEach(({ box, series }) => {
    if (series.bold && section.members) return;
    if (box.checked !== value) { box.checked = value; box.dispatchEvent(new Event("change")); }
  });
  const buttons = [["all", true], ["no", false]].map(([word, value]) => {
    const button = html("button", { type: "button" }, `${word} ${section.members || "lines"}`);
    button.addEventListener("click", set(value));
    return button;
  });
  const scales = [["logX", "log x axis"], ["logY", "log y axis"]].map(([name, text]) => {
    const box = html("input", { type: "checkbox" });
    box.addEventListener("change", () => { state[name] = box.checked; draw(); });
    return html("label", {}, box, text);
  });
  const shown = [...boxes.map(({ label }) => label), ...(boxes.length > 2 ? buttons : [])];
  return [
    html("fieldset", {}, html("legend", {}, "lines"), html("div", { class: "choices" }, ...shown)),
    html("fieldset", { class: "scales" }, html("legend", {}, "axes"), html("div", { class: "choices" }, ...scales)),
  ];
}

// Limits of the finite values; `positive` leaves out those that a log axis lacks.
function limits(values, positive) {
  const finite = values.filter((v) => Number.isFinite(v) && (!positive || v > 0));
  let [low, high] = finite.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
  if (low > high) return null;
  if (low === high) {
    const gap = Math.abs(low) * 0.1 || 1;
    [low, high] = positive ? [low / 2, high * 2] : [low - gap, high + gap];
  }
  return [low, high];
}

function pad([low, high], log) {
  if (log) return [low / (high / low) ** 0.04, high * (high / low) ** 0.04];
  const gap = 0.05 * (high - low);
  return [low - gap, high + gap];
}

function curveChart(chart, section, state) {
  const caption = html("figcaption", {}, chart.label);
  const note = html("p", { class: "note" });
  const tip = html("div", { class: "tip", role: "status" });
  tip.hidden = true;
  const picture = svg("svg", { tabindex: "0", role: "img" });
  picture.setAttribute("aria-label", `${chart.label} over ${section.xlabel}. Arrow keys move through the points.`);
  const figure = html("figure", { class: chart.wide ? "wide" : "" }, caption, picture, note, tip);
  const cursor = { step: null, near: -1 };
  let frame = null;

  const visible = () => chart.lines.filter((line) => state.shown.has(line.series));

  function scales(lines, width, height) {
    const steps = lines.flatMap((line) => line.x.filter((_, i) => Number.isFinite(line.y[i])));
    const x = limits(steps, state.logX);
    const levels = Object.values(chart.levels).map((text) => decode(text).values[0]);
    const values = lines.flatMap((line) => [...line.y, ...line.low, ...line.high]);
    const y = limits(values.concat(levels), state.logY);
    if (!x || !y || !limits(values, state.logY)) return null;
    const padded = chart.from_zero && !state.logY ? [0, y[1] * 1.05 || 1] : pad(y, state.logY);
    const bottom = height - MARGIN.bottom;
    const vertical = scale(...padded, bottom, MARGIN.top, state.logY, height > 300 ? 6 : 4);
    const widest = Math.max(...vertical.ticks.map((tick) => rounded(tick).length));
    const left = 14 + 7 * widest;
    const [from, to] = state.logX ? x : [0, Math.max(x[1], 0)];
    const right = width - MARGIN.right;
    return { left, right, bottom, y: vertical, x: scale(from, to, left, right, state.logX, width / 110) };
  }

  function drawAxes(frame, width, height) {
    const { left, right, bottom, x, y } = frame;
    const parts = [];
    for (const tick of y.ticks) {
      const at = y.pixel(tick);
      parts.push(svg("line", { class: "grid", x1: left, x2: right, y1: at, y2: at }));
      parts.push(svg("text", { x: left - 6, y: at + 4, "text-anchor": "end" }, rounded(tick)));
    }
    for (const tick of x.ticks) {
      const at = x.pixel(tick);
      const anchor = at > width - 26 ? "end" : "middle";
      parts.push(svg("line", { class: "grid", x1: at, x2: at, y1: MARGIN.top, y2: bottom }));
      parts.push(svg("text", { x: anchor === "end" ? right + 10 : at, y: bottom + 16, "text-anchor": anchor }, thousands(tick)));
    }
    parts.push(svg("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }));
    parts.push(svg("line", { class: "axis", x1: left, x2: left, y1: MARGIN.top, y2: bottom }));
    parts.push(svg("text", { class: "faint", x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, section.xlabel));
    return parts;
  }

  function drawLevels({ left, right, y }) {
    return Object.entries(chart.levels).flatMap(([name, text], index) => {
      const level = decode(text).values[0];
      if (!Number.isFinite(level) || (state.logY && level <= 0)) return [];
      const at = y.pixel(level);
      const line = { class: "level", x1: left, x2: right, y1: at, y2: at, "stroke-dasharray": index % 2 ? "2 3" : "6 4" };
      const below = at < MARGIN.top + 14;
      const words = { class: "faint", x: right - 4, y: below ? at + 13 : at - 4, "text-anchor": "end" };
      return [svg("line", line), svg("text", words, name)];
    });
  }

  const drawable = (x, y) => Number.isFinite(y) && (!state.logX || x > 0) && (!state.logY || y > 0);

  // A path through the points, interrupted where one cannot be drawn.
  function path(line, values, { x, y }) {
    let pen = "M";
    return values.map((value, i) => {
      if (!drawable(line.x[i], value)) { pen = "M"; return ""; }
      const point = `${pen}${x.pixel(line.x[i]).toFixed(1)} ${y.pixel(value).toFixed(1)}`;
      pen = "L";
      return point;
    }).join("");
  }

  // The interval as a closed area for every stretch of points that have one.
  function band(line, { x, y }) {
    const areas = [];
    let ends = [];
    const close = () => { if (ends.length > 1) areas.push(ends); ends = []; };
    line.x.forEach((step, i) => {
      if (drawable(step, line.low[i]) && drawable(step, line.high[i])) ends.push(i); else close();
    });
    close();
    const at = (i, values) => `${x.pixel(line.x[i]).toFixed(1)} ${y.pixel(values[i]).toFixed(1)}`;
    return areas.map((area) => `M${area.map((i) => at(i, line.high)).join("L")}L${
      [...area].reverse().map((i) => at(i, line.low)).join("L")}Z`).join("");
  }

  function drawLine(line, frame) {
    const series = section.series[line.series];
    const accent = state.accent === line.series;
    const stroke = color(series.color);
    const width = accent ? 3.5 : series.bold ? 2.4 : 1.1;
    const opacity = series.bold || accent ? 1 : 0.7;
    const parts = [svg("path", { d: band(line, frame), fill: stroke, "fill-opacity": "var(--band)" })];
    parts.push(svg("path", {
      class: "curve", d: path(line, line.y, frame), stroke, "stroke-width": width, "stroke-opacity": opacity,
      "stroke-dasharray": dash(series.color), "data-series": series.label,
    }));
    line.y.forEach((value, i) => {
      const alone = !Number.isFinite(line.y[i - 1]) && !Number.isFinite(line.y[i + 1]);
      if (alone && drawable(line.x[i], value)) {
        parts.push(svg("circle", { cx: frame.x.pixel(line.x[i]), cy: frame.y.pixel(value), r: 3, fill: stroke }));
      }
    });
    const stop = series.diverged_at === undefined ? -1 : line.x.findIndex((step) => step >= series.diverged_at);
    const last = stop < 0 ? -1 : line.y.findLastIndex((value, i) => i <= stop && drawable(line.x[i], value));
    if (last >= 0) {
      const cross = svg("text", { x: frame.x.pixel(line.x[last]), y: frame.y.pixel(line.y[last]) + 5, "text-anchor": "middle" }, "\u2715");
      cross.append(svg("title", {}, `${series.label} diverged`));
      parts.push(cross);
    }
    return parts;
  }

  function explain(lines) {
    const texts = chart.notes.slice();
    const values = lines.flatMap((line) => line.y);
    const infinite = values.filter((v) => Math.abs(v) === Infinity).length;
    const below = values.filter((v) => v <= 0 && Number.isFinite(v)).length;
    const starts = lines.some((line) => line.x.some((x, i) => x <= 0 && Number.isFinite(line.y[i])));
    if (infinite) texts.push(`Infinite values are not drawn: ${infinite}.`);
    if (state.logY && below) texts.push(`${below} of ${values.length} values are not positive: a log axis has no place for them.`);
    if (state.logY && lines.some((line) => line.low.some((v) => v <= 0))) texts.push("The interval is not drawn where its lower end is not positive.");
    if (state.logX && starts) texts.push("Points at step 0 have no place on a log axis.");
    note.textContent = texts.join(" ");
  }

  function draw() {
    const width = Math.max(280, figure.clientWidth);
    const height = chart.wide ? (width < 500 ? 280 : 380) : 240;
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const lines = visible();
    frame = scales(lines, width, height);
    explain(lines);
    if (!frame) {
      const message = lines.length ? "no value can be drawn" : "no line is selected";
      picture.replaceChildren(svg("text", { class: "faint", x: width / 2, y: height / 2, "text-anchor": "middle" }, message));
      tip.hidden = true;
      return;
    }
    const thin = lines.filter((line) => !section.series[line.series].bold);
    const bold = lines.filter((line) => section.series[line.series].bold);
    const drawn = [...thin, ...bold].sort((a, b) => (a.series === state.accent) - (b.series === state.accent));
    picture.replaceChildren(...drawAxes(frame, width, height), ...drawLevels(frame), ...drawn.flatMap((line) => drawLine(line, frame)));
    if (cursor.step !== null) mark();
  }

  // Draw the cursor, and show the numbers at its step.
  function mark() {
    const { x, y, bottom } = frame;
    picture.querySelectorAll(".mark").forEach((node) => node.remove());
    const at = x.pixel(cursor.step);
    picture.append(svg("line", { class: "cursor mark", x1: at, x2: at, y1: MARGIN.top, y2: bottom }));
    const rows = [html("p", {}, `step ${cursor.step.toLocaleString("en")}`)];
    const lines = visible().filter((line) => line.x.includes(cursor.step));
    for (const line of lines) {
      const series = section.series[line.series];
      if (!series.bold && line.series !== cursor.near) continue;
      const i = line.x.indexOf(cursor.step);
      const text = `${series.label}: ${exact(line.y[i], line.single)}${interval(line.low[i], line.high[i])}`;
      rows.push(html("p", { class: line.series === cursor.near ? "near" : "" }, text));
      if (drawable(line.x[i], line.y[i])) {
        picture.append(svg("circle", { class: "mark", cx: at, cy: y.pixel(line.y[i]), r: 4, fill: color(series.color) }));
      }
    }
    tip.replaceChildren(...rows.slice(0, 14));
    const ratio = picture.getBoundingClientRect().width / picture.viewBox.baseVal.width;
    placeTip(tip, figure, at * ratio, picture.getBoundingClientRect().top - figure.getBoundingClientRect().top + 60);
  }

  function hide() {
    cursor.step = null;
    tip.hidden = true;
    picture.querySelectorAll(".mark").forEach((node) => node.remove());
  }

  function steps() {
    const all = visible().flatMap((line) => line.x.filter((x) => !state.logX || x > 0));
    return [...new Set(all)].sort((a, b) => a - b);
  }

  picture.addEventListener("pointermove", (event) => {
    if (!frame) return;
    const box = picture.getBoundingClientRect();
    const ratio = picture.viewBox.baseVal.width / box.width;
    const [px, py] = [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
    const closest = (items, gap) => items.reduce((a, b) => (gap(b) < gap(a) ? b : a));
    cursor.step = closest(steps(), (step) => Math.abs(frame.x.pixel(step) - px));
    const gap = (line) => {
      const value = line.y[line.x.indexOf(cursor.step)];
      return drawable(cursor.step, value) ? Math.abs(frame.y.pixel(value) - py) : Infinity;
    };
    cursor.near = closest(visible(), gap).series;
    mark();
  });
  picture.addEventListener("pointerleave", hide);
  picture.addEventListener("blur", hide);
  picture.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return hide();
    if (!frame) return undefined;
    const all = steps();
    const shown = visible().map((line) => line.series);
    const [place, row] = [all.indexOf(cursor.step), shown.indexOf(cursor.near)];
    const last = all.length - 1;
    const moves = { ArrowRight: Math.min(place + 1, last), ArrowLeft: place < 0 ? last : Math.max(place - 1, 0), Home: 0, End: last };
    const turns = { ArrowDown: row + 1, ArrowUp: row - 1 };
    if (event.key in moves) cursor.step = all[moves[event.key]];
    else if (event.key in turns) cursor.near = shown[(turns[event.key] + shown.length) % shown.length];
    else return undefined;
    if (cursor.step === null) cursor.step = all[last];
    event.preventDefault();
    return mark();
  });
  return { figure, draw };
}
