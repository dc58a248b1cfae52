"use strict";
// The page works without this; it makes tables sort and galleries switch by a key or a click.

const number = (text) => parseFloat(text.replaceAll(",", ""));
const key = (row, column) => {
  const cell = row.cells[column];
  const value = cell.dataset.sort === undefined ? number(cell.textContent) : Number(cell.dataset.sort);
  return { value, text: cell.textContent.trim() };
};

// What has no number stays below, whichever way is sorted.
function compare(one, other, sign) {
  if (Number.isNaN(one.value) !== Number.isNaN(other.value)) return Number.isNaN(one.value) ? 1 : -1;
  if (Number.isNaN(one.value)) return sign * one.text.localeCompare(other.text, undefined, { numeric: true });
  return sign * (one.value - other.value);
}

function sort(table, heading) {
  const column = Number(heading.dataset.column);
  const isName = table.tBodies[0].rows[0]?.cells[column].tagName === "TH";
  const before = heading.getAttribute("aria-sort");
  const direction = before ? (before === "ascending" ? "descending" : "ascending") : isName ? "ascending" : "descending";
  const sign = direction === "ascending" ? 1 : -1;
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, ...key(row, column) }));
  if (isName) rows.forEach((each) => { each.value = NaN; });
  rows.sort((one, other) => compare(one, other, sign));
  table.tBodies[0].append(...rows.map((each) => each.row));
  table.querySelectorAll("[aria-sort]").forEach((each) => each.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", direction);
}

for (const table of document.querySelectorAll("table[data-sortable]")) {
  for (const heading of table.querySelectorAll("th[data-column]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sort(table, heading));
    heading.append(button);
  }
}

const views = [...document.querySelectorAll("input[name=view]")];
const show = (index) => { if (views[index]) views[index].checked = true; };
const next = () => show((views.findIndex((view) => view.checked) + 1) % views.length);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if ("123".includes(event.key)) show(Number(event.key) - 1);
  if (event.key === "s") next();
});
document.querySelectorAll(".views").forEach((each) => each.addEventListener("click", next));
