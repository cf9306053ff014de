// Build the page from the data that is embedded in it.

const data = JSON.parse(document.getElementById("data").textContent);

function list(texts, name) {
  return texts.length ? [html("ul", { class: name }, ...texts.map((text) => html("li", {}, text)))] : [];
}

const facts = Object.entries(data.facts).flatMap(([name, value]) => [html("dt", {}, name), html("dd", {}, value)]);
document.getElementById("page").replaceChildren(
  html("h1", {}, data.title),
  html("p", { class: "headline" }, data.headline),
  ...list(data.warnings, "warnings"),
  ...data.sections.flatMap((section) => {
    if (section.kind === "curves") return curvesSection(section);
    if (section.kind === "parallel") return parallelSection(section, data.sections);
    return tableSection(section);
  }),
  html("h2", {}, "Provenance"),
  html("dl", { class: "facts" }, ...facts),
);
