"use strict";
// What the pages of pairs and of trade-offs share: elements, axes with round ticks, numbers as the tables print them.
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function draw(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function choice(label, options, action) {
  const select = make("select");
  for (const [group, some] of options) {
    const box = group ? make("optgroup", { label: group }) : select;
    for (const [value, text] of some) box.append(make("option", { value }, text));
    if (group) select.append(box);
  }
  select.addEventListener("change", () => action(select.value));
  return { select, label: make("label", {}, `${label} `, select) };
}

function print(value, places) {
  if (value === null || value === undefined) return "–";
  const tiny = value !== 0 && Math.abs(value) < 0.5 * 10 ** -places;
  const text = tiny ? value.toExponential(1) : value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
  return text.replaceAll("-", "−");
}

function axisOf(values, start, end, turned = false) {
  const low = Math.min(...values), high = Math.max(...values);
  const room = 0.05 * (high - low) || 0.05 * Math.abs(high) || 1;
  const [first, last] = turned ? [end, start] : [start, end];
  const axis = { low: low - room, high: high + room };
  axis.at = (value) => Math.round(10 * (first + (value - axis.low) / (axis.high - axis.low) * (last - first))) / 10;
  const power = 10 ** Math.floor(Math.log10((axis.high - axis.low) / 8));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((each) => each >= (axis.high - axis.low) / 8 * 0.999);
  const places = step < 1 ? Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9))) : 0;
  axis.ticks = [];
  for (let i = Math.ceil(axis.low / step - 1e-9); i <= axis.high / step + 1e-9; i += 1) axis.ticks.push([axis.at(i * step), print(i ? i * step : 0, places)]);
  return axis;
}

function grid(across, up, { left, right, top, bottom }) {
  const nodes = across.ticks.flatMap(([at, text]) => [
    draw("path", { class: "tick", d: `M${at} ${top}V${bottom}` }), draw("text", { x: at, y: bottom + 14, "text-anchor": "middle" }, text)]);
  return nodes.concat(up.ticks.flatMap(([at, text]) => [
    draw("path", { class: "tick", d: `M${left} ${at}H${right}` }), draw("text", { x: left - 5, y: at + 3.5, "text-anchor": "end" }, text)]));
}

function axisNames(x, y, { left, right, bottom, height }) {
  return [
    draw("text", { class: "axis", x: (left + right) / 2, y: height - 4, "text-anchor": "middle" }, x),
    draw("text", { class: "axis", transform: `translate(12 ${bottom / 2}) rotate(-90)`, "text-anchor": "middle" }, y)];
}

function table(heads, rows) {
  const line = (cells, tag) => make("tr", {}, ...cells.map((cell, i) => {
    const node = make(tag === "td" && i === 0 ? "th" : tag, { scope: tag === "th" ? "col" : "row", ...(i ? { class: "num" } : {}) });
    if (tag === "td" && i) node.removeAttribute("scope");
    node.append(...[cell].flat());
    return node;
  }));
  return make("table", { class: "list small" }, make("thead", {}, line(heads, "th")), make("tbody", {}, ...rows.map((row) => line(row, "td"))));
}
