"use strict";
// Sorts a table by the column whose name is clicked: best first, then the other way round. Without it the page reads the same.
for (const table of document.querySelectorAll("table.scores")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  heads.forEach((head, column) => {
    const name = head.querySelector(".name");
    const button = document.createElement("button");
    button.type = "button";
    button.append(...name.childNodes);
    name.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sort(table, body, heads, column));
  });
}

function sort(table, body, heads, column) {
  const head = heads[column];
  const best = head.dataset.sort === "higher" ? "descending" : "ascending";
  const other = best === "ascending" ? "descending" : "ascending";
  const order = head.getAttribute("aria-sort") === best ? other : best;
  heads.forEach((each) => each.setAttribute("aria-sort", each === head ? order : "none"));
  const sign = order === "ascending" ? 1 : -1;
  const rows = [...body.rows].map((row) => ({ row, key: key(row.cells[column], head.dataset.sort) }));
  rows.sort((a, b) => compare(a.key, b.key, sign));
  body.append(...rows.map(({ row }) => row));
}

// A cell's number or text; null where there is no number.
function key(cell, kind) {
  if (kind === "label") return cell.innerText;
  return "value" in cell.dataset ? Number(cell.dataset.value) : null;
}

// Cells without a number stay last in both orders; equal ones keep their places.
function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  return sign * (typeof a === "string" ? a.localeCompare(b) : a - b);
}
