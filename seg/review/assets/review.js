"use strict";
// Marks live in the page, and in the browser's own store, so that a reload loses none; `Save the marks` makes a file of them.
const rows = JSON.parse(document.getElementById("rows").textContent);
const cards = [...document.querySelectorAll(".suspect")];
const tools = document.querySelector(".tools");
const shown = tools.querySelector("output");
const store = `review ${rows.map((row) => row.image + row.counts).join(" ").length} ${document.title}`;
let unsaved = false;

document.documentElement.classList.add("live");

function remember() {
  try {
    localStorage.setItem(store, JSON.stringify(cards.map((card) => card.dataset.mark)));
  } catch { /* a browser without a store: the file is what counts */ }
}

function recall() {
  try {
    const marks = JSON.parse(localStorage.getItem(store) || "[]");
    if (marks.length === cards.length) cards.forEach((card, i) => show(card, marks[i]));
  } catch { /* as above */ }
}

function show(card, mark) {
  card.dataset.mark = mark;
  for (const button of card.querySelectorAll("[data-set]")) button.setAttribute("aria-pressed", String(button.dataset.set === mark));
}

function set(card, mark) {
  show(card, mark === card.dataset.mark ? "open" : mark);
  unsaved = true;
  remember();
  count();
}

function filter() {
  const wanted = Object.fromEntries([...tools.querySelectorAll("select")].map((select) => [select.dataset.of, select.value]));
  for (const card of cards) {
    const classes = JSON.parse(card.dataset.classes);
    card.hidden = Boolean((wanted.kind && card.dataset.kind !== wanted.kind)
      || (wanted.classes && !classes.includes(wanted.classes)) || (wanted.mark && card.dataset.mark !== wanted.mark));
  }
  count();
}

function count() {
  const seen = cards.filter((card) => !card.hidden).length;
  const marked = cards.filter((card) => card.dataset.mark !== "open").length;
  shown.textContent = `${seen} of ${cards.length} shown, ${marked} marked`;
}

function step(by) {
  const seen = cards.filter((card) => !card.hidden);
  const at = seen.indexOf(document.activeElement.closest(".suspect"));
  const next = seen[Math.max(0, Math.min(seen.length - 1, at + by))];
  if (!next) return;
  next.focus();
  next.scrollIntoView({ block: "start" });
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-set]");
  if (button) set(button.closest(".suspect"), button.dataset.set);
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select")) return;
  const mark = { 1: "right", 2: "wrong", 3: "unsure", 0: "open" }[event.key];
  const card = document.activeElement.closest(".suspect");
  if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
  else if (mark && card) {
    if (card.dataset.mark !== mark) set(card, mark);
    step(1);
  } else return;
  event.preventDefault();
});

document.getElementById("save").addEventListener("click", () => {
  const marks = rows.map((row, i) => ({ ...row, mark: cards[i].dataset.mark })).filter((row) => row.mark !== "open");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify({ marks }, null, 1)], { type: "application/json" }));
  link.download = `marks_${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.json`;
  link.click();
  URL.revokeObjectURL(link.href);
  unsaved = false;
});

window.addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
tools.addEventListener("change", filter);
recall();
filter();
