"use strict";
// Sorting, filtering and the choice of columns, kept in the URL. Without it the page shows every row and column.
const boards = [...document.querySelectorAll("section.board")].filter((section) => section.querySelector("table.scores")).map((section) => makeBoard(section));
const DEFAULTS = { cols: "overview", q: "", sort: "", kinds: "", plain: "", rows: "" };
// Rows of each kind that are shown first, as in the page without this script.
const ROWS = 100;

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in node && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function makeBoard(section) {
  const table = section.querySelector("table.scores");
  const heads = [...table.querySelectorAll("tr.names > th")].slice(1);
  const bodies = [...table.tBodies];
  const rows = bodies.map((body) => [...body.rows].filter((row) => !row.classList.contains("kind")));
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  const board = { id: section.id, section, table, heads, bodies, rows, sheet, state: {} };
  board.groups = [...new Set(heads.map((head) => head.dataset.group))];
  board.filled = new Map(rows.flat().map((row) => [row, heads.map((_, i) => !row.cells[i + 1].classList.contains("absent"))]));
  heads.forEach((head) => addSort(board, head));
  addSort(board, table.querySelector("tr.names > .method"));
  addTools(board);
  return board;
}

// A column's name becomes the button that sorts by it; the link to the metric moves behind it.
function addSort(board, head) {
  const name = head.querySelector(".name");
  const button = make("button", { type: "button", class: "name" }, name.textContent);
  if (name.href) {
    const about = make("a", { class: "about", href: name.getAttribute("href"), "aria-label": `about ${name.textContent}` }, "?");
    name.after(about);
  }
  name.replaceWith(button);
  head.setAttribute("aria-sort", "none");
  button.addEventListener("click", () => {
    const best = head.dataset.better === "higher" ? "-" : "";
    const other = best ? "" : "-";
    const now = board.state.sort;
    change(board, { sort: now === best + head.dataset.id ? other + head.dataset.id : best + head.dataset.id });
  });
}

function addTools(board) {
  const form = board.section.querySelector("form.tools");
  const filter = make("input", { type: "search", placeholder: "Filter methods", "aria-label": "Filter methods" });
  filter.addEventListener("input", () => change(board, { q: filter.value }));
  form.addEventListener("submit", (event) => event.preventDefault());
  const views = make("div", { class: "chips", role: "group", "aria-label": "Columns" });
  const presets = [["overview", "Overview"], ...board.groups.map((group) => [group, group]), ["all", "All columns"]];
  for (const [value, label] of presets) views.append(chip(label, value, () => change(board, { cols: value })));
  const kinds = make("div", { class: "chips", role: "group", "aria-label": "Rows" });
  for (const body of board.bodies) {
    const label = { method: "Methods", published: "Published", sentinel: "Controls" }[body.dataset.kind];
    if (board.bodies.length > 1) kinds.append(chip(label, body.dataset.kind, () => toggleKind(board, body.dataset.kind)));
  }
  const plain = chip("Intervals", "plain", () => change(board, { plain: board.state.plain ? "" : "1" }));
  const picker = makePicker(board);
  const reset = make("button", { type: "button", class: "quiet" }, "Reset");
  reset.addEventListener("click", () => change(board, { ...DEFAULTS }));
  const status = make("output", { class: "status", role: "status" });
  form.append(make("div", { class: "line" }, filter, kinds, plain, picker, reset, status), views);
  views.hidden = board.groups.length < 2 && board.heads.every((head) => "key" in head.dataset);
  const more = make("button", { type: "button", class: "quiet" });
  more.addEventListener("click", () => change(board, { rows: "all" }));
  const below = make("p", { class: "status" }, more);
  board.table.closest(".scroll").after(below);
  Object.assign(board, { below, more });
  Object.assign(board, { form, filter, views, kinds, plain, picker, status });
  form.hidden = false;
}

function chip(label, value, action) {
  const button = make("button", { type: "button", class: "chip", "data-value": value, "aria-pressed": "false" }, label);
  button.addEventListener("click", action);
  return button;
}

function makePicker(board) {
  const panel = make("div", { class: "panel" });
  for (const group of board.groups) {
    const set = make("fieldset", {}, make("legend", {}, group));
    for (const head of board.heads.filter((each) => each.dataset.group === group)) {
      const box = make("input", { type: "checkbox", value: head.dataset.id });
      box.addEventListener("change", () => {
        const chosen = [...panel.querySelectorAll("input:checked")].map((each) => each.value);
        change(board, { cols: `=${chosen.join("|")}` });
      });
      const view = head.querySelector("small") ? ` (${head.querySelector("small").textContent})` : "";
      set.append(make("label", {}, box, ` ${head.querySelector(".name").textContent}${view}`));
    }
    panel.append(set);
  }
  const summary = make("summary", {}, "Columns");
  const picker = make("details", { class: "picker" }, summary, panel);
  picker.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    picker.open = false;
    summary.focus();
  });
  return picker;
}

function toggleKind(board, kind) {
  const hidden = new Set(board.state.kinds.split("|").filter(Boolean));
  if (!hidden.delete(kind)) hidden.add(kind);
  change(board, { kinds: [...hidden].join("|") });
}

// State: `#?t1.sort=-auc@probe&t1.q=dae`; defaults are left out. Links to remarks have no `?` and change nothing.
function read() {
  if (location.hash && !location.hash.startsWith("#?")) return;
  const found = new URLSearchParams(location.hash.slice(2));
  for (const board of boards) {
    board.state = { ...DEFAULTS };
    for (const key of Object.keys(DEFAULTS)) board.state[key] = found.get(`${board.id}.${key}`) ?? DEFAULTS[key];
    show(board);
  }
}

function change(board, some) {
  Object.assign(board.state, some);
  show(board);
  const told = new URLSearchParams();
  for (const each of boards) {
    for (const [key, value] of Object.entries(each.state)) if (value !== DEFAULTS[key]) told.set(`${each.id}.${key}`, value);
  }
  const hash = String(told);
  history.replaceState(null, "", hash ? `#?${hash}` : "#?");
}

function chosenColumns(board) {
  const cols = board.state.cols;
  const wanted = new Set(cols.startsWith("=") ? cols.slice(1).split("|") : []);
  return board.heads.map((head) => {
    if (cols === "all") return true;
    if (cols.startsWith("=")) return wanted.has(head.dataset.id);
    if (board.groups.includes(cols)) return head.dataset.group === cols;
    return "key" in head.dataset;
  });
}

function show(board) {
  const columns = chosenColumns(board);
  showColumns(board, columns);
  const shown = showRows(board, columns);
  sortRows(board);
  showFirst(board, shown);
  const { state } = board;
  if (board.filter.value !== state.q) board.filter.value = state.q;
  board.table.classList.toggle("plain", Boolean(state.plain));
  for (const button of board.views.children) button.setAttribute("aria-pressed", String(button.dataset.value === state.cols));
  const hidden = state.kinds.split("|");
  for (const button of board.kinds.children) button.setAttribute("aria-pressed", String(!hidden.includes(button.dataset.value)));
  board.plain.setAttribute("aria-pressed", String(!state.plain));
  for (const box of board.picker.querySelectorAll("input")) {
    box.checked = columns[board.heads.findIndex((head) => head.dataset.id === box.value)];
  }
}

function showColumns(board, columns) {
  const chosen = board.state.cols !== "overview";
  const off = columns.flatMap((on, i) => (on || !chosen ? [] : [`:nth-child(${i + 2})`]));
  board.table.classList.toggle("chosen", chosen);
  const rule = off.length ? `#${board.id} :is(tbody > tr:not(.kind), tr.names) > :is(${off.join(",")}) { display: none }` : "";
  board.sheet.replaceSync(rule);
  [...board.table.querySelectorAll("tr.groups > th")].forEach((cell, i) => {
    const shown = board.heads.filter((head, j) => head.dataset.group === board.groups[i] && columns[j]).length;
    cell.hidden = !shown;
    cell.colSpan = shown || 1;
  });
  let group = "";
  board.heads.forEach((head, i) => {
    if (columns[i]) head.classList.toggle("first", head.dataset.group !== group);
    if (columns[i]) group = head.dataset.group;
  });
}

// Rows that match the filter and have anything in the chosen columns.
function showRows(board, columns) {
  const words = board.state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const hidden = board.state.kinds.split("|");
  let shown = 0;
  board.bodies.forEach((body, i) => {
    let some = 0;
    for (const row of board.rows[i]) {
      const name = row.cells[0].textContent.toLowerCase();
      const filled = board.filled.get(row).some((on, j) => on && columns[j]);
      row.hidden = !(filled && words.every((word) => name.includes(word)));
      some += !row.hidden;
    }
    body.hidden = hidden.includes(body.dataset.kind) || !some;
    shown += body.hidden ? 0 : some;
  });
  const total = board.rows.flat().length;
  board.status.textContent = `${shown} of ${total} rows, ${columns.filter(Boolean).length} of ${columns.length} columns`;
  return shown;
}

// The first rows of each kind in the order that is shown; all of them on request.
function showFirst(board, shown) {
  let late = 0;
  for (const body of board.bodies) {
    let seen = 0;
    for (const row of body.rows) {
      if (row.hidden || row.classList.contains("kind")) continue;
      seen += 1;
      const on = seen > ROWS && board.state.rows !== "all";
      if (row.classList.contains("late") !== on) row.classList.toggle("late", on);
      late += on && !body.hidden;
    }
  }
  board.below.hidden = !late;
  board.more.textContent = `Show all ${shown} rows`;
}

function sortRows(board) {
  const descending = board.state.sort.startsWith("-");
  const id = board.state.sort.replace(/^-/, "");
  const all = [...board.table.querySelectorAll("tr.names > th")];
  const column = all.findIndex((head) => id && head.dataset.id === id);
  all.forEach((head, i) => head.setAttribute("aria-sort", i !== column ? "none" : descending ? "descending" : "ascending"));
  board.bodies.forEach((body, i) => {
    const keyed = board.rows[i].map((row) => ({ row, key: keyOf(row, column) }));
    if (column >= 0) keyed.sort((a, b) => compare(a.key, b.key, descending ? -1 : 1));
    if (column >= 0 || board.sorted) body.append(...keyed.map(({ row }) => row));
  });
  board.sorted = column >= 0;
}

// A cell's number, or a row's name; null where there is no number.
function keyOf(row, column) {
  if (column === 0) return row.cells[0].textContent;
  const value = column > 0 ? row.cells[column].dataset.v : undefined;
  return value === undefined ? null : Number(value);
}

// Cells without a number stay last in both orders; equal ones keep their places.
function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  return sign * (typeof a === "string" ? a.localeCompare(b) : a - b);
}

addEventListener("hashchange", read);
read();
if (boards.some((board) => !board.state.cols)) boards.forEach((board) => { board.state = { ...DEFAULTS }; show(board); });
