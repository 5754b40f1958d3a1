"use strict";
// Any two metrics against each other. Without it the page shows the first pairs. The choice is kept in the URL.
const data = JSON.parse(document.getElementById("data").textContent);
const SIZE = { width: 640, height: 420, left: 62, right: 626, top: 14, bottom: 374 };
// Where a name may stand beside its point, which end of it is there, and how much of it lies to the left.
const BESIDE = [
  [8, 4, "start", 0], [-8, 4, "end", 1], [0, -9, "middle", 0.5], [0, 17, "middle", 0.5],
  [7, -8, "start", 0], [7, 17, "start", 0], [-7, -8, "end", 1], [-7, 17, "end", 1],
];
let state = {};
const fields = {};

function addControls() {
  const form = document.getElementById("controls");
  form.addEventListener("submit", (event) => event.preventDefault());
  const groups = [...new Set(data.columns.map((column) => column.group))];
  const several = (column) => data.columns.filter((each) => each.metric === column.metric).length > 1;
  const options = groups.map((group) => [group, data.columns.map((column, i) => [i, several(column) ? `${column.metric} (${column.view})` : column.metric, column.group]).filter((each) => each[2] === group)]);
  fields.x = choice("To the right", options, (value) => change({ x: value }));
  fields.y = choice("Up", options, (value) => change({ y: value }));
  form.append(make("div", { class: "line" }, fields.x.label, fields.y.label));
  form.hidden = false;
  document.getElementById("static").hidden = true;
}

function change(some) {
  Object.assign(state, some);
  history.replaceState(null, "", `#?${new URLSearchParams(state)}`);
  show();
}

function read() {
  const found = new URLSearchParams(location.hash.startsWith("#?") ? location.hash.slice(2) : "");
  const [x, y] = data.first[0];
  state = { x: String(x), y: String(y) };
  for (const name of ["x", "y"]) if (/^\d+$/.test(found.get(name) ?? "") && Number(found.get(name)) < data.columns.length) state[name] = found.get(name);
  show();
}

function pointsOf(x, y) {
  return data.rows.map(([label, kind, page], i) => ({ label, kind, page, a: x.cells[i], b: y.cells[i] })).filter((point) => point.a && point.b)
    .map((point) => ({ ...point, counts: point.kind === "method" && !point.a[3] && !point.b[3] }));
}

// Those that no other one beats: as good in both and better in one.
function frontOf(points, x, y) {
  const [sx, sy] = [x, y].map((column) => (column.better === "higher" ? 1 : -1));
  const ordered = points.filter((point) => point.counts).sort((p, q) => sx * (q.a[0] - p.a[0]) || sy * (q.b[0] - p.b[0]));
  const best = [];
  for (const point of ordered) {
    const last = best.at(-1);
    if (!last || sy * point.b[0] > sy * last.b[0] || (point.a[0] === last.a[0] && point.b[0] === last.b[0])) best.push(point);
  }
  return best;
}

function show() {
  fields.x.select.value = state.x;
  fields.y.select.value = state.y;
  const [x, y] = [data.columns[state.x], data.columns[state.y]];
  const points = pointsOf(x, y);
  const best = frontOf(points, x, y);
  const box = document.getElementById("shown");
  const heads = ["Method", x.metric, y.metric];
  const rows = best.map((point) => [make("a", { href: point.page }, point.label), print(point.a[0], x.places), print(point.b[0], y.places)]);
  const side = make("div", {}, make("h3", {}, "On the front"), best.length ? table(heads, rows) : make("p", { class: "soft" }, "No ranked method has both numbers."));
  box.replaceChildren(make("h2", {}, `${x.metric} × ${y.metric} `, make("span", { class: "where" }, `${x.view}, ${y.view}`)), make("div", { class: "side" }, plotOf(x, y, points, best), side));
  box.hidden = false;
}

function plotOf(x, y, points, best) {
  const plot = draw("svg", { class: "plot pareto", viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: "group", "aria-label": `${x.metric} to the right, ${y.metric} up` });
  if (!points.length) return plot;
  const reach = (name) => points.flatMap((point) => point[name].slice(0, 3)).filter((value) => value !== null);
  const across = axisOf(reach("a"), SIZE.left, SIZE.right, x.better === "lower");
  const up = axisOf(reach("b"), SIZE.bottom, SIZE.top, y.better === "lower");
  for (const point of points) [point.x, point.y, point.best] = [across.at(point.a[0]), up.at(point.b[0]), best.includes(point)];
  plot.append(...grid(across, up, SIZE));
  if (best.length) plot.append(draw("path", { class: "steps", d: `M${best[0].x} ${SIZE.bottom}V${best[0].y}${best.slice(1).map((point) => `H${point.x}V${point.y}`).join("")}H${SIZE.left}` }));
  const cut = (axis, value) => axis.at(Math.min(Math.max(value, axis.low), axis.high));
  for (const point of points) {
    const first = point.a[1] === null ? "" : `M${cut(across, point.a[1])} ${point.y}H${cut(across, point.a[2])}`;
    const second = point.b[1] === null ? "" : `M${point.x} ${cut(up, point.b[1])}V${cut(up, point.b[2])}`;
    plot.append(draw("path", { class: point.best ? "bars best" : "bars", d: first + second }));
  }
  const names = labels(points);
  for (const point of points) plot.append(markOf(point, names.get(point), x, y));
  const named = (column) => `${column.metric}${column.unit ? ` (${column.unit})` : ""}, better →`;
  plot.append(...axisNames(named(x), named(y), SIZE));
  return plot;
}

function markOf(point, name, x, y) {
  const kind = point.best ? "method best" : point.kind === "method" && !point.counts ? "method pale" : point.kind;
  const node = draw("a", { href: point.page }, draw("title", {}, `${point.label}: ${print(point.a[0], x.places)}, ${print(point.b[0], y.places)}`));
  if (kind === "sentinel") node.append(draw("path", { class: "point sentinel", d: `M${point.x} ${point.y - 5}l5 5l-5 5l-5 -5z` }));
  else if (kind === "published") node.append(draw("rect", { class: "point published", x: point.x - 4, y: point.y - 4, width: 8, height: 8 }));
  else node.append(draw("circle", { class: `point ${kind}`, cx: point.x, cy: point.y, r: 4.5 }));
  if (name) node.append(draw("text", { class: "label", x: name[0], y: name[1], "text-anchor": name[2] }, point.label));
  return node;
}

// Names beside the points, those of the front first, where they hide neither a point nor another name.
function labels(points) {
  const taken = points.map((point) => [point.x - 6, point.y - 6, point.x + 6, point.y + 6]);
  const found = new Map();
  for (const point of [...points].sort((p, q) => q.best - p.best)) {
    const wide = 6.1 * point.label.length;
    for (const [dx, dy, anchor, share] of BESIDE) {
      const left = point.x + dx - share * wide;
      const box = [left, point.y + dy - 10, left + wide, point.y + dy + 2];
      const inside = box[0] > SIZE.left && box[2] < SIZE.right && box[1] > 0 && box[3] < SIZE.bottom;
      if (!inside || taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) continue;
      taken.push(box);
      found.set(point, [point.x + dx, point.y + dy, anchor]);
      break;
    }
  }
  return found;
}

addControls();
addEventListener("hashchange", read);
read();
