// The panels of a job: which of them it has, and how each is drawn from the store.
import { Lines, Plane, colour, short } from "./draw.js";

function element(tag, text, parent) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  parent?.append(made);
  return made;
}

function card(parent, id, title, note) {
  const panel = element("section", "", parent);
  panel.className = "panel";
  panel.id = id;
  element("h2", title, panel);
  const text = element("p", note, panel), draw = element("div", "", panel);
  draw.className = "draw";
  return { panel, text, draw };
}

// Columns of the store over time or records.
function seriesPanel(view, parent, id, title, note, keys, unit, options = {}) {
  const { store } = view, columns = keys.map(key => store.column(key)).filter(at => at >= 0);
  if (!columns.length) return null;
  const { draw } = card(parent, id, title, note);
  const strip = options.strip ?? (label => label);
  const lines = new Lines(draw, columns.map((at, i) => ({ label: strip(store.job.columns[at].label), colour: colour(i) })), unit, options);
  return () => {
    const rows = view.whole ? store.whole : store.recent;
    const x = rows.map(row => view.overRecords ? row[1] : row[0] / 1000);
    lines.set([x, ...columns.map(at => rows.map(row => row[at] === undefined ? null : row[at]))], view.overRecords);
  };
}

// Points are rows: [time, partition, offset, label, (y, class) for each model, features...].
function pointShape(store) {
  const models = store.job.models.length;
  return { y: m => 4 + 2 * m, cls: m => 5 + 2 * m, feature: f => 4 + 2 * models + f };
}

function actualPanel(view, parent, m, model) {
  const { store } = view, at = pointShape(store), unit = store.job.label ?? "label";
  const { draw } = card(parent, `actual-${model.name}`, `${model.name}: prediction and actual`, "sampled rows; the residual is actual minus predicted");
  const lines = new Lines(draw, [{ label: "actual", points: true, colour: colour(0) }, { label: "predicted", points: true, colour: colour(1) },
    { label: "residual", points: true, colour: colour(7) }], unit);
  return () => {
    const points = store.points.filter(point => point[3] !== null && point[at.y(m)] !== null).slice(-400);
    const x = points.map((point, i) => point[0] / 1000 + i * 1e-6);
    lines.set([x, points.map(p => p[3]), points.map(p => p[at.y(m)]), points.map(p => p[3] - p[at.y(m)])], false);
  };
}

function classesPanel(view, parent, m, model) {
  const { store } = view, at = pointShape(store), feature = store.job.features[0] ?? "feature 1";
  const { draw } = card(parent, `classes-${model.name}`, `${model.name}: class over ${feature}`, "sampled rows, coloured by class");
  const names = Array.from({ length: Math.min(model.classes || 8, 8) }, (_, i) => model.labels[i] ?? `class ${i}`);
  const lines = new Lines(draw, names.map((name, i) => ({ label: name, points: true, colour: colour(i) })), feature);
  return () => {
    const points = store.points.slice(-800);
    lines.set([points.map((p, i) => p[0] / 1000 + i * 1e-6), ...names.map((_, i) => points.map(p => p[at.cls(m)] === i ? p[at.feature(0)] : null))], false);
  };
}

function centresPanel(view, parent, m, model) {
  const { store } = view, at = pointShape(store), features = store.job.features;
  if (features.length < 2) return null;
  const inner = model.input !== null; // it reads another model's output: the rows that were sampled are in other units
  const { draw } = card(parent, `centres-${model.name}`, `${model.name}: centres${inner ? "" : " and points"}`,
    `${inner ? "" : "sampled rows by nearest centre, and "}the way of the centres; sizes are shares of the rows sampled last`);
  const plane = new Plane(draw, inner ? `${features[0]}, as ${model.input} gives it` : features[0], inner ? `${features[1]}, likewise` : features[1]);
  const [first, count] = model.numbers;
  return () => {
    const points = store.points.slice(-1200), rows = store.recent;
    const now = rows.at(-1) ?? [];
    const centres = [];
    for (let i = 0; i + 1 < count; i += 2) centres.push([now[first + i], now[first + i + 1]]);
    const shown = inner ? [] : points;
    const pen = plane.begin([...shown.map(p => p[at.feature(0)]), ...centres.map(c => c[0])], [...shown.map(p => p[at.feature(1)]), ...centres.map(c => c[1])]);
    const sizes = centres.map(() => 0);
    pen.globalAlpha = 0.35;
    for (const point of points) {
      const cls = point[at.cls(m)];
      if (cls >= 0 && cls < sizes.length) sizes[cls]++;
      if (inner) continue;
      pen.fillStyle = colour(Math.max(cls, 0));
      pen.fillRect(plane.px(point[at.feature(0)]) - 1.5, plane.py(point[at.feature(1)]) - 1.5, 3, 3);
    }
    pen.globalAlpha = 1;
    centres.forEach((centre, i) => {
      if (centre[0] === null || centre[0] === undefined) return;
      pen.strokeStyle = colour(i);
      pen.lineWidth = 1.5;
      pen.beginPath();
      for (const row of rows) if (row[first + 2 * i] !== null) pen.lineTo(plane.px(row[first + 2 * i]), plane.py(row[first + 2 * i + 1]));
      pen.stroke();
      pen.beginPath();
      pen.arc(plane.px(centre[0]), plane.py(centre[1]), 6 + 20 * Math.sqrt(sizes[i] / Math.max(points.length, 1)), 0, 7);
      pen.strokeStyle = plane.ink();
      pen.stroke();
      pen.fillStyle = plane.ink();
      pen.textAlign = "center";
      pen.fillText(`${i}: ${(100 * sizes[i] / Math.max(points.length, 1)).toFixed(0)} %`, plane.px(centre[0]), plane.py(centre[1]) + 4);
    });
  };
}

function histogramPanel(view, parent, m, model) {
  const { store } = view, at = pointShape(store), BINS = 30;
  const unit = model.classes ? (model.is_logit ? "score" : "probability") : "prediction";
  const { draw } = card(parent, `scores-${model.name}`, `${model.name}: ${unit === "prediction" ? "predictions" : "scores"}`, "how often, of the rows sampled last");
  const plane = new Plane(draw, unit, "rows");
  return () => {
    const values = store.points.map(p => p[at.y(m)]).filter(Number.isFinite);
    let low = Infinity, high = -Infinity;
    for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
    if (!(high > low)) { low -= 0.5; high += 0.5; }
    if (!values.length) [low, high] = [0, 1];
    const bins = new Array(BINS).fill(0), step = (high - low) / BINS;
    for (const value of values) bins[Math.min(BINS - 1, Math.floor((value - low) / step))]++;
    const pen = plane.begin([low, high], [0, Math.max(1, ...bins)], true);
    pen.fillStyle = colour(0);
    bins.forEach((count, i) => {
      const left = plane.px(low + i * step), right = plane.px(low + (i + 1) * step), zero = plane.py(0);
      pen.fillRect(left + 0.5, plane.py(count), Math.max(1, right - left - 1), zero - plane.py(count));
    });
  };
}

function confusionPanel(view, parent, m, model) {
  const { store } = view, at = pointShape(store), k = model.classes;
  if (k < 2 || k > 12) return null;
  const { draw, text } = card(parent, `confusion-${model.name}`, `${model.name}: actual and predicted class`, "");
  const scroll = element("div", "", draw);
  scroll.className = "scroll";
  const table = element("table", "", scroll), name = i => model.labels[i] ?? String(i);
  const head = element("tr", "", table);
  element("th", "actual \\ predicted", head);
  for (let i = 0; i < k; i++) element("th", name(i), head).className = "n";
  const cells = Array.from({ length: k }, (_, i) => {
    const row = element("tr", "", table);
    element("th", name(i), row);
    return Array.from({ length: k }, () => { const cell = element("td", "", row); cell.className = "n"; return cell; });
  });
  return () => {
    const counts = Array.from({ length: k }, () => new Array(k).fill(0));
    let rows = 0;
    for (const point of store.points) {
      const label = point[3], cls = point[at.cls(m)];
      if (label === null || cls < 0 || label < 0 || label >= k || label % 1) continue;
      counts[label][cls]++;
      rows++;
    }
    text.textContent = `rows of each kind, of the ${rows} sampled last that had a label`;
    cells.forEach((row, i) => row.forEach((cell, j) => { cell.textContent = counts[i][j]; }));
  };
}

function deadPanel(view, parent) {
  const { store } = view, { draw, text } = card(parent, "dead", "Dead letters", "");
  const scroll = element("div", "", draw);
  scroll.className = "scroll";
  const table = element("table", "", scroll);
  let shown = null;
  return () => {
    const total = store.frame?.records.dead ?? 0;
    text.textContent = total ? `${total} in all; the last ones:` : "none so far";
    const mark = `${store.dead.length} ${store.dead[0]?.time} ${store.dead[0]?.offset}`;
    if (mark === shown) return;
    shown = mark;
    table.replaceChildren();
    if (!store.dead.length) return;
    const head = element("tr", "", table);
    for (const name of ["time", "topic", "partition", "offset", "reason", "field"]) element("th", name, head);
    for (const dead of store.dead.slice(0, 12)) {
      const row = element("tr", "", table);
      for (const value of [new Date(dead.time).toLocaleTimeString(), dead.topic, dead.partition, dead.offset, dead.reason, dead.field]) element("td", String(value), row);
    }
  };
}

function modelsPanel(view, parent) {
  const { store } = view, { draw } = card(parent, "models", "Models", "what scores the records");
  const scroll = element("div", "", draw);
  scroll.className = "scroll";
  const table = element("table", "", scroll), head = element("tr", "", table);
  for (const name of ["model", "type", "learns", "version", "loss", "right"]) element("th", name, head);
  const cells = store.job.models.map(model => {
    const row = element("tr", "", table);
    for (const value of [model.name, model.type, model.learns ? "yes" : "no"]) element("td", value, row);
    return [element("td", "", row), element("td", "", row), element("td", "", row)];
  });
  return () => {
    const values = store.frame?.values ?? [];
    store.job.models.forEach((model, m) => {
      const [loss, right, version] = [0, 1, 2].map(i => values[model.columns + i]);
      cells[m][0].textContent = short(version);
      cells[m][1].textContent = short(loss);
      cells[m][2].textContent = Number.isFinite(right) ? `${right.toFixed(1)} %` : "–";
    });
  };
}

// All panels in the order that people look. Returns what draws them.
export function panelsMake(view, parent) {
  const { store } = view, { job } = store, made = [];
  const columns = (test, what) => job.models.map((model, m) => test(model) ? `model.${m}.${what}` : null).filter(Boolean);
  const losses = columns(model => model.judged !== "no" || (model.learns && model.type !== "scaler"), "loss");
  made.push(seriesPanel(view, parent, "loss", "Loss", "of predictions made before learning; mean of each half second", losses, "mean loss", { log: false }));
  made.push(seriesPanel(view, parent, "right", "Right class", "share of labelled rows", columns(model => model.judged === "classes", "right"), "%"));
  job.models.forEach((model, m) => {
    if (model.judged === "number" && job.label) made.push(actualPanel(view, parent, m, model));
    if (model.classes && model.type !== "kmeans") made.push(classesPanel(view, parent, m, model));
    if (model.type === "kmeans") made.push(centresPanel(view, parent, m, model));
    const keys = job.columns.filter((_, i) => i >= model.numbers[0] && i < model.numbers[0] + model.numbers[1]).map(column => column.key);
    if (model.learns && keys.length)
      made.push(seriesPanel(view, parent, `numbers-${model.name}`, `${model.name}: ${model.type === "kmeans" ? "centres" : "coefficients"}`, "as they are learned", keys, "value"));
    if (model.width === 1 && !["kmeans", "scaler"].includes(model.type)) made.push(histogramPanel(view, parent, m, model));
    if (model.judged === "classes" && job.label) made.push(confusionPanel(view, parent, m, model));
  });
  made.push(modelsPanel(view, parent));
  made.push(seriesPanel(view, parent, "rate", "Records", "taken in, acknowledged and dead", ["in", "out", "dead"], "records/s"));
  made.push(seriesPanel(view, parent, "lag", "Lag", "records in the topics that are not taken in yet", ["lag"], "records"));
  made.push(seriesPanel(view, parent, "latency", "Latency", "from poll to acknowledgement", ["p50", "p99", "p999"], "ms"));
  made.push(seriesPanel(view, parent, "stages", "Time by stage", "of all lanes together", job.columns.filter(column => column.key.startsWith("stage.")).map(column => column.key), "ms/s"));
  made.push(seriesPanel(view, parent, "batch", "Batch size", "records a batch", ["batch"], "records"));
  made.push(seriesPanel(view, parent, "cpu", "CPU", "of the whole process", ["cpu"], "cores"));
  made.push(deadPanel(view, parent));
  return made.filter(Boolean);
}
