// Tables whose columns sort by a button in the header.

function cellText(value) {
  if (value === null) return "";
  return typeof value === "number" ? rounded(value, 6) : value;
}

// Numbers before text, and nothing or nan last, in either direction.
function compareCells(a, b, sign) {
  const [first, second] = [a, b].map((v) => (v === null || v === "nan" ? 2 : typeof v === "number" ? 0 : 1));
  if (first !== second) return first - second;
  return sign * (first === 0 ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
}

function tableSection(section) {
  const { columns, rows, heading, notes } = section;
  const body = html("tbody");
  const isNumber = (value) => value === null || value === "nan" || typeof value === "number";
  const numeric = columns.map((_, index) => rows.every((row) => isNumber(row[index])));
  const headers = columns.map((name, index) => {
    const button = html("button", { type: "button" }, name);
    const header = html("th", { scope: "col", "aria-sort": "none" }, button);
    if (numeric[index]) header.className = "number";
    button.addEventListener("click", () => {
      const descending = header.getAttribute("aria-sort") === "ascending";
      for (const other of headers) other.setAttribute("aria-sort", "none");
      header.setAttribute("aria-sort", descending ? "descending" : "ascending");
      show([...rows].sort((a, b) => compareCells(a[index], b[index], descending ? -1 : 1)));
    });
    return header;
  });
  function show(ordered) {
    body.replaceChildren(...ordered.map((row) => html("tr", {}, ...row.map((value, index) => {
      const cell = html("td", { class: numeric[index] ? "number" : "" }, cellText(value));
      if (typeof value === "number") cell.title = String(value);
      return cell;
    }))));
  }
  show(rows);
  const table = html("table", {}, html("thead", {}, html("tr", {}, ...headers)), body);
  const region = { class: "table", tabindex: "0", role: "region", "aria-label": heading };
  const parts = [html("div", region, table), ...notes.map((text) => html("p", { class: "note" }, text))];
  if (!section.folded) return [html("h2", {}, heading), ...parts];
  return [html("details", {}, html("summary", {}, heading), ...parts)];
}
