"use strict";
// Where a case is asked for several targets, a slider shows one at a time. Without it they stand below each other.
for (const article of document.querySelectorAll("article.case")) {
  const asked = [...article.querySelectorAll("section.asked")];
  if (asked.length < 2) continue;
  const fullest = asked.reduce((best, each, i) => (columns(each) > columns(asked[best]) ? i : best), 0);
  const slider = document.createElement("input");
  const shown = document.createElement("output");
  const label = document.createElement("label");
  Object.assign(slider, { type: "range", min: 0, max: asked.length - 1, step: 1, value: fullest });
  label.className = "slider";
  label.append("asked for ", slider, shown);
  article.querySelector("h2").after(label);
  for (const heading of article.querySelectorAll("h3")) if (!heading.querySelector(".tag")) heading.hidden = true;
  const show = () => {
    asked.forEach((section, i) => { section.hidden = i !== Number(slider.value); });
    const target = asked[Number(slider.value)].dataset.target || "nothing";
    shown.textContent = target;
    slider.setAttribute("aria-valuetext", `asked for ${target}`);
  };
  slider.addEventListener("input", show);
  show();
}

function columns(section) {
  return section.querySelector("thead > tr").cells.length;
}
