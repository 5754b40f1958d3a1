"use strict";
// The sheet of all cases: one row per case, one picture per method, ordered by any score, a page at a time. Only the
// pictures of the page that is shown are loaded. What is chosen is kept in the URL.
const PER_PAGE = 25;
const DEFAULTS = { role: "", by: "", of: "0", order: "worst", target: "", find: "", failed: "", page: "1" };
const element = document.getElementById("data");
const data = element ? JSON.parse(element.textContent) : null;
const FIRST = data && (data.roles.find((role) => role === "counterfactual") ?? data.roles[0]);
const fields = {};
let state = { ...DEFAULTS };

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function choice(name, label, options) {
  const select = make("select", { id: `c-${name}`, ...(label ? {} : { "aria-label": name }) });
  for (const [value, text] of options) select.append(make("option", { value }, text));
  select.addEventListener("change", () => change({ [name]: select.value, page: "1" }));
  fields[name] = select;
  return make("label", {}, `${label} `, select);
}

function addControls() {
  const form = document.getElementById("controls");
  form.addEventListener("submit", (event) => event.preventDefault());
  const line = make("div", { class: "line" });
  line.append(choice("role", "Show", data.roles.map((role) => [role === FIRST ? "" : role, role])));
  if (data.metrics.length) {
    line.append(choice("by", "Order by", [["", "case"], ...data.metrics.map(([name]) => [name, name])]));
    line.append(choice("of", "of", data.methods.map((name, i) => [String(i), name])));
    line.append(choice("order", "", [["worst", "worst first"], ["best", "best first"], ["median", "median first"]]));
  }
  const targets = [...new Set(data.cases.flatMap((c) => c.a.map((a) => a[0])))].filter((t) => t !== null).sort((a, b) => a - b);
  if (targets.length > 1) line.append(makeSlider(targets));
  const find = make("input", { type: "search", placeholder: "Find a case", "aria-label": "Find a case" });
  find.addEventListener("input", () => change({ find: find.value, page: "1" }));
  fields.find = find;
  const failed = make("input", { type: "checkbox" });
  failed.addEventListener("change", () => change({ failed: failed.checked ? "1" : "", page: "1" }));
  fields.failed = failed;
  line.append(find, make("label", {}, failed, " failed only"));
  form.append(line);
  form.hidden = false;
}

// Place 0 shows each case under the target that most methods answer.
function makeSlider(targets) {
  const slider = make("input", { type: "range", min: "0", max: String(targets.length), step: "1" });
  const shown = make("output");
  slider.addEventListener("input", () => change({ target: slider.value === "0" ? "" : String(targets[slider.value - 1]), page: "1" }));
  fields.target = { set: (value) => {
    slider.value = String(value === "" ? 0 : targets.indexOf(Number(value)) + 1);
    shown.textContent = value === "" ? "any target" : value;
    slider.setAttribute("aria-valuetext", shown.textContent);
  } };
  return make("label", { class: "slider" }, "Asked for ", slider, shown);
}

function change(some) {
  Object.assign(state, some);
  const told = new URLSearchParams(Object.entries(state).filter(([key, value]) => value !== DEFAULTS[key]));
  history.replaceState(null, "", `#?${told}`);
  show();
}

function read() {
  if (location.hash && !location.hash.startsWith("#?")) return;
  const found = new URLSearchParams(location.hash.slice(2));
  state = Object.fromEntries(Object.keys(DEFAULTS).map((key) => [key, found.get(key) ?? DEFAULTS[key]]));
  show();
}

function lineOf(item) {
  const many = (a) => a[2].filter(Boolean).length;
  const fitting = item.a.filter((a) => state.target === "" || a[0] === Number(state.target));
  return fitting.reduce((best, each) => (best && many(best) >= many(each) ? best : each), null);
}

function scoreOf(line) {
  const metric = data.metrics.findIndex(([name]) => name === state.by);
  const answer = line[2][Number(state.of)];
  return metric < 0 || !answer ? null : answer[2][metric];
}

function ordered() {
  const words = state.find.toLowerCase();
  const some = data.cases.map((item) => ({ item, line: lineOf(item) })).filter(({ line }) => line);
  const found = some.filter(({ item, line }) => item.id.toLowerCase().includes(words) && (!state.failed || line[2].some((m) => m && m[0] !== "ok")));
  if (!state.by) return found;
  const scored = found.map((each) => ({ ...each, score: scoreOf(each.line) }));
  const known = scored.filter(({ score }) => score !== null).sort((a, b) => a.score - b.score);
  const [, better] = data.metrics.find(([name]) => name === state.by) ?? ["", "none"];
  if (state.order === "median") {
    const middle = (known.length - 1) / 2;
    known.forEach((each, i) => { each.distance = Math.abs(i - middle); });
    known.sort((a, b) => a.distance - b.distance);
  } else if ((better === "higher") === (state.order === "best")) known.reverse();
  return [...known, ...scored.filter(({ score }) => score === null)];
}

function image(file, label) {
  if (!file) return make("span", { class: "blank", "aria-hidden": "true" });
  return make("img", { src: `images/${file}.png`, alt: label, loading: "lazy", decoding: "async", height: "96" });
}

function rowOf({ item, line, score }, methods) {
  const [target, truth, answers, beyond] = line;
  const role = data.rolesOf.indexOf(state.role || FIRST);
  const small = [item.g === null ? "" : `grade ${item.g}`, target === null ? "" : `→ ${target}${beyond ? " (beyond the scale)" : ""}`];
  const head = make("th", { scope: "row" }, make("a", { href: item.p }, item.id), make("small", {}, small.filter(Boolean).join(" ")));
  if (state.by) head.append(make("small", { class: "score" }, score === null ? `no ${state.by}` : `${state.by} ${score}`));
  const row = make("tr", {}, head);
  row.append(make("td", { class: "reference" }, image(item.x, `input of ${item.id}`)));
  if (data.truth) row.append(make("td", { class: "reference" }, image(truth, `exact counterfactual of ${item.id}`)));
  for (const m of methods) {
    const answer = answers[m];
    const cell = make("td", {});
    if (answer && answer[0] !== "ok") cell.append(make("span", { class: "failure" }, answer[0]));
    else cell.append(image(answer ? answer[1][role] : 0, `${state.role || FIRST} by ${data.methods[m]}`));
    row.append(cell);
  }
  return row;
}

function show() {
  const found = ordered();
  const last = Math.max(1, Math.ceil(found.length / PER_PAGE));
  const page = Math.min(last, Math.max(1, Number(state.page) || 1));
  const some = found.slice((page - 1) * PER_PAGE, page * PER_PAGE);
  const role = data.rolesOf.indexOf(state.role || FIRST);
  const methods = data.methods.map((_, i) => i).filter((i) => some.some(({ line }) => line[2][i] && (line[2][i][1][role] || line[2][i][0] !== "ok")));
  const heads = ["case", "input", ...(data.truth ? ["exact"] : []), ...methods.map((m) => data.methods[m])];
  const table = make("table", { class: "contact" });
  table.append(make("thead", {}, make("tr", {}, ...heads.map((name) => make("th", { scope: "col" }, name)))));
  table.append(make("tbody", {}, ...some.map((each) => rowOf(each, methods))));
  const box = document.getElementById("sheet");
  box.replaceChildren(table);
  box.hidden = false;
  document.getElementById("status").replaceChildren(...pager(found.length, page, last));
  for (const [name, field] of Object.entries(fields)) {
    if (name === "target") field.set(state.target);
    else if (name === "failed") field.checked = Boolean(state.failed);
    else if (field.value !== state[name]) field.value = state[name];
  }
}

function pager(total, page, last) {
  const nodes = [make("span", {}, `${total} of ${data.cases.length} cases${last > 1 ? `, page ${page} of ${last}` : ""}`)];
  for (const [label, to] of [["← Previous", page - 1], ["Next →", page + 1]]) {
    if (to < 1 || to > last) continue;
    const button = make("button", { type: "button", class: "quiet" }, label);
    button.addEventListener("click", () => change({ page: String(to) }));
    nodes.push(button);
  }
  return nodes;
}

if (data) {
  addControls();
  addEventListener("hashchange", read);
  read();
}
