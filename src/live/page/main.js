// Starts the page: what it shows of the store, how often, and what keys and buttons do.
import { Store } from "./data.js";
import { short } from "./draw.js";
import { panelsMake } from "./panels.js";

const store = new Store();
const view = { store, whole: false, overRecords: false, paused: false };
const by = id => document.getElementById(id);
let panels = [], numbers = [], due = false, force = false;

const SAYS = {
  starting: "starting", ok: "running", idle: "no records come", lagging: "behind: records wait in the topic", stalled: "stalled: records wait, none is taken in",
  held: "held up: a sink takes no more", unknown: "no records come, and how many wait is not known", stopping: "stopping", lost: "connection lost: trying again", ended: "the job has ended",
};

function stateShow() {
  const pill = by("state");
  pill.dataset.state = store.state;
  let text = SAYS[store.state] ?? store.state;
  if (store.state === "ended") text += store.end.exit_code ? `: ${store.end.status} (exit code ${store.end.exit_code})` : ", all is well";
  if (pill.textContent !== text) pill.textContent = text;
}

function numbersMake() {
  const shown = [["records in", "records", () => store.frame.records.in], ["records/s", "in", null], ["records/s", "out", null], ["dead letters", "dead letters", () => store.frame.records.dead],
    ["ms, median", "p50", null], ["ms, p99", "p99", null], ...store.job.has_lag ? [["records", "lag", null]] : []];
  numbers = shown.map(([unit, key, value]) => {
    const place = document.createElement("div"), number = document.createElement("b"), label = document.createElement("span");
    label.textContent = value ? unit : `${key === "p50" || key === "p99" ? "latency" : key}, ${unit}`;
    place.append(number, label);
    by("numbers").append(place);
    const at = store.column(key);
    return () => { number.textContent = short(value ? value() : store.frame.values[at]); };
  });
}

// Clouds of points are drawn four times a second; all at once when a person has changed what is shown.
function draw() {
  const isForced = force;
  due = force = false;
  stateShow();
  if (view.paused || document.hidden) return;
  if (store.frame) for (const number of numbers) number();
  const now = performance.now();
  for (const panel of panels) {
    if (panel.isFar) continue;
    if (panel.every && !isForced && now - (panel.last ?? -Infinity) < panel.every) continue;
    panel.last = now;
    panel();
  }
}

function drawSoon() {
  if (due) return;
  due = true;
  requestAnimationFrame(draw);
}

// Panels far from what is seen are drawn when they come near.
function watch() {
  const near = new IntersectionObserver(entries => {
    for (const entry of entries) panels.find(panel => panel.place === entry.target).isFar = !entry.isIntersecting;
    force = true;
    drawSoon();
  }, { rootMargin: "300px" });
  for (const panel of panels) near.observe(panel.place);
}

function press(id, change) {
  by(id).addEventListener("click", () => { change(); labels(); force = true; drawSoon(); });
}

function labels() {
  by("pause").textContent = view.paused ? "Go on" : "Pause";
  by("pause").setAttribute("aria-pressed", String(view.paused));
  by("span").textContent = view.whole ? "Whole run" : "Last 5 min";
  by("axis").textContent = view.overRecords ? "Over records" : "Over time";
  history.replaceState(null, "", `#${[view.whole && "whole", view.overRecords && "records"].filter(Boolean).join(",")}`);
}

// What of the job there is no room for.
function notice(job) {
  const parts = [];
  if (job.models_left.length) parts.push(`models that are not shown here: ${job.models_left.join(", ")}`);
  if (job.feature_count > job.features_in_points) parts.push(`sampled rows hold the first ${job.features_in_points} of ${job.feature_count} features`);
  by("notice").textContent = parts.join("; ");
  by("notice").hidden = !parts.length;
}

function themeSet(name) {
  const dark = name === "dark" || (!name && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}

// Where storage is forbidden, nothing is kept.
function kept() {
  try { return localStorage.getItem("theme"); } catch { return null; }
}

async function start() {
  themeSet(kept());
  view.whole = location.hash.includes("whole");
  view.overRecords = location.hash.includes("records");
  press("pause", () => { view.paused = !view.paused; });
  store.wantsWhole = view.whole;
  press("span", () => {
    view.whole = store.wantsWhole = !view.whole;
    store.wholeFetch();
  });
  press("axis", () => { view.overRecords = !view.overRecords; });
  press("theme", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("theme", next); } catch { /* it is forgotten then */ }
    themeSet(next);
  });
  const keys = { " ": "pause", w: "span", x: "axis", t: "theme" };
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || ["BUTTON", "INPUT"].includes(event.target.tagName) || !keys[event.key]) return;
    event.preventDefault();
    by(keys[event.key]).click();
  });
  document.addEventListener("visibilitychange", () => store.hide(document.hidden));
  try {
    await store.open();
  } catch (reason) {
    by("state").dataset.state = "lost";
    by("state").textContent = `no answer (${reason.message}): trying again`;
    setTimeout(() => location.reload(), 2000);
    return;
  }
  const { job } = store;
  document.title = `${job.name} · millrace`;
  by("name").textContent = job.name;
  by("facts").textContent = `${job.source} → ${job.models.map(model => model.type).join(", ")} on ${job.backend} → ${job.sinks.join(", ")}`;
  notice(job);
  numbersMake();
  panels = panelsMake(view, by("panels"));
  watch();
  if (!globalThis.uPlot) by("facts").textContent += " · this build has no charts: run scripts/setup and build again";
  labels();
  store.changed = drawSoon;
  drawSoon();
}

start();
