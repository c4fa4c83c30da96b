"use strict";
// The drawing is plain SVG; this adds moving, zooming, finding, and what hangs together with what.
const plan = JSON.parse(document.getElementById("plan").textContent);
const svg = document.querySelector("#view > svg");
const panel = document.getElementById("panel");
const find = document.getElementById("find");
const found = document.getElementById("found");
const nodes = [...svg.querySelectorAll(".node")];
const edges = [...svg.querySelectorAll(".edge[data-e]")].map((element) => {
  const [source, target] = element.dataset.e.split(" ").map(Number);
  return { element, source, target };
});
const into = nodes.map(() => []), from = nodes.map(() => []);
for (const edge of edges) {
  from[edge.source].push(edge);
  into[edge.target].push(edge);
}

// ---- moving and zooming: the part of the drawing that is seen
const whole = { width: svg.viewBox.baseVal.width, height: svg.viewBox.baseVal.height };
let seen = { x: 0, y: 0, ...whole };

function look(x, y, width, height) {
  seen = { x, y, width, height };
  svg.setAttribute("viewBox", `${x} ${y} ${width} ${height}`);
}

function unit() {  // how much of the drawing is a pixel of the screen
  const box = svg.getBoundingClientRect();
  return Math.max(seen.width / box.width, seen.height / box.height);
}

function point(event) {  // where in the drawing the pointer is
  return new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
}

function zoom(factor, at = { x: seen.x + seen.width / 2, y: seen.y + seen.height / 2 }) {
  const most = 4 * Math.max(whole.width, whole.height);
  const width = Math.min(Math.max(seen.width * factor, 120), most);
  const by = width / seen.width;
  look(at.x - (at.x - seen.x) * by, at.y - (at.y - seen.y) * by, width, seen.height * by);
}

function fit() {  // small plans are not blown up, tall ones begin at their top
  const box = svg.getBoundingClientRect();
  const scale = Math.max(1, whole.width / box.width, Math.min(whole.height / box.height, 2.5));
  const width = box.width * scale, height = box.height * scale;
  look((whole.width - width) / 2, Math.min(0, (whole.height - height) / 2), width, height);
}

function centre(number) {
  const box = nodes[number].getBBox(), matrix = nodes[number].getCTM(), root = svg.getCTM();
  const at = new DOMPoint(box.x + box.width / 2, box.y + box.height / 2)
    .matrixTransform(root.inverse().multiply(matrix));
  const screen = svg.getBoundingClientRect();
  const scale = Math.min(unit(), 1.2);
  look(at.x - screen.width * scale / 2, at.y - screen.height * scale / 2, screen.width * scale, screen.height * scale);
}

const pointers = new Map();
let moved = false;
svg.addEventListener("pointerdown", (event) => {
  pointers.set(event.pointerId, event);
  moved = false;
});
svg.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  if (!moved && Math.hypot(event.clientX - before.clientX, event.clientY - before.clientY) < 4) return;
  if (!moved) svg.setPointerCapture(event.pointerId);
  moved = true;
  svg.classList.add("dragged");
  const others = [...pointers.values()].filter((other) => other.pointerId !== event.pointerId);
  if (others.length) {  // two fingers
    const far = (one) => Math.hypot(one.clientX - others[0].clientX, one.clientY - others[0].clientY);
    zoom(far(before) / Math.max(far(event), 1), point(others[0]));
  } else {
    const scale = unit();
    look(seen.x - (event.clientX - before.clientX) * scale, seen.y - (event.clientY - before.clientY) * scale,
         seen.width, seen.height);
  }
  pointers.set(event.pointerId, event);
});
for (const end of ["pointerup", "pointercancel"]) {
  svg.addEventListener(end, (event) => {
    pointers.delete(event.pointerId);
    svg.classList.remove("dragged");
  });
}
svg.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.004), point(event));
}, { passive: false });

// ---- what a node waits for, and what waits for it
function reach(start, edgesOf, end) {
  const reached = new Set([start]), passed = [], todo = [start];
  while (todo.length) {
    for (const edge of edgesOf[todo.pop()]) {
      passed.push(edge);
      if (!reached.has(edge[end])) {
        reached.add(edge[end]);
        todo.push(edge[end]);
      }
    }
  }
  return { reached, passed };
}

function trace(number) {
  const up = reach(number, into, "source"), down = reach(number, from, "target");
  for (const element of svg.querySelectorAll(".near")) element.classList.remove("near");
  for (const i of [...up.reached, ...down.reached]) nodes[i].classList.add("near");
  for (const edge of [...up.passed, ...down.passed]) edge.element.classList.add("near");
  svg.classList.add("traced");
}

let chosen = -1;

function untrace() {
  if (chosen >= 0) trace(chosen);
  else svg.classList.remove("traced");
}

// ---- the panel
function row(list, term, value) {
  if (!value || (Array.isArray(value) && !value.length)) return;
  list.append(Object.assign(document.createElement("dt"), { textContent: term }));
  const told = document.createElement("dd");
  told.append(...(Array.isArray(value) ? value : [value]));
  list.append(told);
}

function links(numbers) {
  return [...new Set(numbers)].map((number) => {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "link" });
    button.textContent = plan.groups[number].name;
    button.addEventListener("click", () => choose(number, true));
    return button;
  });
}

function choose(number, move) {
  if (chosen >= 0) nodes[chosen].classList.remove("chosen");
  chosen = number;
  panel.hidden = number < 0;
  if (number < 0) return untrace();
  nodes[number].classList.add("chosen");
  const group = plan.groups[number];
  const list = document.createElement("dl");
  for (const [term, value] of group.told) row(list, term, value);
  row(list, "waits for", links(into[number].map((edge) => edge.source).filter((i) => i !== number)));
  row(list, "then", links(from[number].map((edge) => edge.target).filter((i) => i !== number)));
  const ids = group.ids ? group.ids.split("\n") : [];
  const matching = find.value ? ids.filter((id) => id.toLowerCase().includes(find.value.toLowerCase())) : [];
  row(list, "matching nodes", matching.slice(0, 50).join("\n"));
  row(list, "nodes", ids.slice(0, 50).join("\n") + (group.count > 50 ? `\n... ${group.count - 50} more` : ""));
  panel.replaceChildren(Object.assign(document.createElement("h2"), { textContent: group.name }), list);
  trace(number);
  if (move) centre(number);
}

for (const [number, element] of nodes.entries()) {
  element.setAttribute("tabindex", "0");
  element.setAttribute("role", "button");
  element.addEventListener("pointerenter", () => pointers.size || trace(number));
  element.addEventListener("pointerleave", untrace);
  element.addEventListener("focus", () => trace(number));
  element.addEventListener("blur", untrace);
  element.addEventListener("click", () => moved || choose(number, false));
  element.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      choose(number, true);
    }
  });
}
svg.addEventListener("click", (event) => {
  if (!moved && !event.target.closest(".node")) choose(-1);
});

// ---- finding
const texts = plan.groups.map((group) =>
  [group.name, group.ids || "", ...group.told.map(([, value]) => value)].join("\n").toLowerCase());
let matches = [], current = -1;

find.addEventListener("input", () => {
  const wanted = find.value.trim().toLowerCase();
  matches = wanted ? nodes.map((_, i) => i).filter((i) => texts[i].includes(wanted)) : [];
  current = -1;
  svg.classList.toggle("searched", wanted !== "");
  nodes.forEach((node, i) => node.classList.toggle("match", matches.includes(i)));
  found.textContent = wanted ? `${matches.length} found` : "";
});
find.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && matches.length) {
    current = (current + (event.shiftKey ? matches.length - 1 : 1)) % matches.length;
    found.textContent = `${current + 1} of ${matches.length}`;
    choose(matches[current], true);
  } else if (event.key === "Escape") {
    find.value = "";
    find.dispatchEvent(new Event("input"));
    find.blur();
  }
});

// ---- buttons and keys
const levels = document.getElementById("levels"), opener = document.getElementById("levels-open");
function toggleLevels() {
  levels.hidden = !levels.hidden;
  opener.setAttribute("aria-expanded", String(!levels.hidden));
}
const step = () => seen.width / 8;
const keys = {
  "+": () => zoom(0.8), "=": () => zoom(0.8), "-": () => zoom(1.25), "0": fit, "l": toggleLevels,
  "/": () => find.focus(), "Escape": () => choose(-1),
  "ArrowLeft": () => look(seen.x - step(), seen.y, seen.width, seen.height),
  "ArrowRight": () => look(seen.x + step(), seen.y, seen.width, seen.height),
  "ArrowUp": () => look(seen.x, seen.y - step(), seen.width, seen.height),
  "ArrowDown": () => look(seen.x, seen.y + step(), seen.width, seen.height),
};
document.addEventListener("keydown", (event) => {
  if (event.target === find || event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
  if (event.key.startsWith("Arrow") && event.target.closest("#levels, #panel")) return;
  event.preventDefault();
  keys[event.key]();
});
document.getElementById("in").addEventListener("click", keys["+"]);
document.getElementById("out").addEventListener("click", keys["-"]);
document.getElementById("fit").addEventListener("click", fit);
opener.addEventListener("click", toggleLevels);
svg.setAttribute("role", "group");
fit();
let size = svg.getBoundingClientRect();
new ResizeObserver(() => {  // a panel opens: what is seen keeps its scale
  const now = svg.getBoundingClientRect(), scale = Math.max(seen.width / size.width, seen.height / size.height);
  if (now.width && now.height) look(seen.x, seen.y, now.width * scale, now.height * scale);
  size = now;
}).observe(svg);
