"use strict";
// Any two rows under any column: scatter, tested difference, wins and losses, the cases that differ most. The choice is
// kept in the URL.
const data = JSON.parse(document.getElementById("data").textContent);
const SIZE = { left: 52, right: 352, top: 10, bottom: 316, height: 352 };
const NAMED = 6;
const methods = data.rows.map((row, i) => [i, row]).filter(([i, row]) => row[1] !== "published" && data.columns.some((column) => column.scores[i] || column.values[i] !== null));
let state = {};
const fields = {};

function defaults() {
  const column = Math.max(0, data.columns.findIndex((each) => each.key && each.pairs.length && each.scores.filter(Boolean).length > 1));
  const better = data.columns[column].better === "higher" ? -1 : 1;
  const [a, b] = methods.filter(([i, row]) => row[1] === "method" && data.columns[column].values[i] !== null)
    .sort((p, q) => better * (data.columns[column].values[p[0]] - data.columns[column].values[q[0]])).map(([i]) => i);
  return { a: String(a ?? methods[0][0]), b: String(b ?? methods[1][0]), column: String(column) };
}

function rowChoice(name, label) {
  const kinds = { method: "Methods", sentinel: "Controls" };
  const groups = Object.entries(kinds).map(([kind, title]) => [title, methods.filter(([, row]) => row[1] === kind).map(([i, row]) => [i, row[0]])]);
  return choice(label, groups.filter(([, some]) => some.length), (value) => change({ [name]: value }));
}

function addControls() {
  const form = document.getElementById("controls");
  form.addEventListener("submit", (event) => event.preventDefault());
  const views = [...new Set(data.columns.map((column) => column.view))];
  const columns = views.map((view) => [view, data.columns.map((column, i) => [i, column.metric, column.view]).filter((each) => each[2] === view)]);
  Object.assign(fields, {
    a: rowChoice("a", "A"), b: rowChoice("b", "B"), column: choice("Metric", columns, (value) => change({ column: value })) });
  const swap = make("button", { type: "button", class: "quiet" }, "Swap A and B");
  swap.addEventListener("click", () => change({ a: state.b, b: state.a }));
  form.append(make("div", { class: "line" }, fields.a.label, fields.b.label, fields.column.label, swap));
  form.hidden = false;
}

function change(some) {
  Object.assign(state, some);
  history.replaceState(null, "", `#?${new URLSearchParams(state)}`);
  show();
}

function read() {
  const found = new URLSearchParams(location.hash.startsWith("#?") ? location.hash.slice(2) : "");
  const known = (name, count) => /^\d+$/.test(found.get(name) ?? "") && Number(found.get(name)) < count;
  state = defaults();
  for (const [name, count] of [["a", data.rows.length], ["b", data.rows.length], ["column", data.columns.length]]) if (known(name, count)) state[name] = found.get(name);
  show();
}

function tested(column, a, b) {
  const found = column.pairs.find((pair) => (pair[0] === a && pair[1] === b) || (pair[0] === b && pair[1] === a));
  if (!found) return null;
  const [first, , gap, low, high, p, adjusted] = found;
  return first === a ? { gap, low, high, p, adjusted } : { gap: -gap, low: -high, high: -low, p, adjusted };
}

function gapsOf(column, a, b) {
  const [first, second] = [column.scores[a], column.scores[b]];
  if (!first || !second) return [];
  const sign = column.better === "lower" ? -1 : 1;
  return column.lines.map(([id, target], i) => ({ id, target, a: first[i], b: second[i], gap: sign * (first[i] - second[i]) }))
    .filter((line) => line.a !== null && line.b !== null);
}

function show() {
  for (const [name, field] of Object.entries(fields)) field.select.value = state[name];
  const [a, b, column] = [Number(state.a), Number(state.b), data.columns[Number(state.column)]];
  const gaps = gapsOf(column, a, b);
  const box = document.getElementById("shown");
  box.replaceChildren(summary(column, a, b, gaps));
  if (gaps.length > 1) box.append(make("div", { class: "side" }, scatter(column, a, b, gaps), lists(column, a, b, gaps)));
  box.hidden = false;
  document.getElementById("status").textContent = a === b ? "A and B are the same row." : gaps.length ? "" : "No scores of the same cases: this metric has one number per row, or the two answer other cases.";
}

function summary(column, a, b, gaps) {
  const { places } = column, found = a === b ? null : tested(column, a, b);
  const link = (i) => make("a", { href: data.rows[i][2] }, data.rows[i][0]);
  const facts = [[["A ", link(a)], print(column.values[a], places)], [["B ", link(b)], print(column.values[b], places)]];
  if (found) {
    const p = found.adjusted ?? found.p;
    facts.push(["A − B, 95 % interval", `${print(found.gap, places)}  [${print(found.low, places)}, ${print(found.high, places)}]`]);
    facts.push([found.adjusted === null ? "p (alone: one of the two is not ranked)" : "p after Holm", p < 0.001 ? "< 0.001" : p.toFixed(3)]);
  } else facts.push(["A − B", "not tested: a shared generator's number, other cases, or nothing to compare"]);
  if (gaps.length && column.better !== "none") {
    const count = (test) => gaps.filter(test).length;
    facts.push(["Cases won / lost / tied by A", `${count((g) => g.gap > 0)} / ${count((g) => g.gap < 0)} / ${count((g) => g.gap === 0)}`]);
  }
  const list = make("dl", { class: "facts narrow" }, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, ...[name].flat()), make("dd", {}, value))));
  return make("div", {}, make("h2", {}, `${column.metric} `, make("span", { class: "where" }, `${column.view}${column.unit ? `, ${column.unit}` : ""} `), verdict(column, found)), list);
}

function verdict(column, found) {
  if (!found || column.better === "none") return "";
  if ((found.adjusted ?? found.p) > 0.05) return make("span", { class: "tag control" }, "not told apart");
  return make("span", { class: "tag ok" }, (found.gap > 0) === (column.better === "higher") ? "A better" : "B better");
}

function scatter(column, a, b, gaps) {
  const values = gaps.flatMap((line) => [line.a, line.b]);
  const across = axisOf(values, SIZE.left, SIZE.right), up = axisOf(values, SIZE.bottom, SIZE.top);
  const plot = draw("svg", { class: "plot duel wide", viewBox: `0 0 ${SIZE.right + 8} ${SIZE.height}`, role: "img", "aria-label": `${column.metric} of ${gaps.length} cases: B to the right, A up` });
  plot.append(...grid(across, up, SIZE));
  plot.append(draw("path", { class: "diagonal", d: `M${across.at(across.low)} ${up.at(up.low)}L${across.at(across.high)} ${up.at(up.high)}` }));
  for (const line of gaps) {
    const side = column.better === "none" || line.gap === 0 ? "tie" : line.gap > 0 ? "ahead" : "behind";
    const dot = draw("path", { class: `dots ${side}`, d: `M${across.at(line.b)} ${up.at(line.a)}h0` });
    dot.append(draw("title", {}, `${nameOf(line)}: A ${print(line.a, column.places)}, B ${print(line.b, column.places)}`));
    plot.append(dot);
  }
  plot.append(...axisNames(`B ${data.rows[b][0]}`, `A ${data.rows[a][0]}`, SIZE));
  const hint = column.better === "higher" ? { x: SIZE.left + 5, y: SIZE.top + 12 } : { x: SIZE.right - 4, y: SIZE.bottom - 6, "text-anchor": "end" };
  if (column.better !== "none") plot.append(draw("text", { class: "hint", ...hint }, "A better"));
  return plot;
}

function nameOf(line) {
  return line.target === null ? line.id : `${line.id} → ${line.target}`;
}

function lists(column, a, b, gaps) {
  const box = make("div", {});
  if (column.better === "none") return box;
  const ordered = [...gaps].sort((p, q) => q.gap - p.gap);
  for (const [title, some] of [["A ahead by most", ordered.slice(0, NAMED).filter((g) => g.gap > 0)], ["A behind by most", ordered.reverse().slice(0, NAMED).filter((g) => g.gap < 0)]]) {
    if (!some.length) continue;
    const cell = (line) => (data.pages[line.id] ? make("a", { href: data.pages[line.id] }, nameOf(line)) : nameOf(line));
    box.append(make("h3", {}, title), table(["Case", "A", "B"], some.map((line) => [cell(line), print(line.a, column.places), print(line.b, column.places)])));
  }
  return box;
}

if (data.columns.length && methods.length > 1) {
  addControls();
  addEventListener("hashchange", read);
  read();
}
