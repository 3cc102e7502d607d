// Panels of what a job finds out: each is made for a model, and gives what draws it from the store.
import { card, element, table } from "./card.js";
import { get } from "./data.js";
import { GREY, Lines, Plane, colour, isDark, short } from "./draw.js";

const POINTS_EVERY = 250, SHOWN = 600;

// Points are rows: [time, partition, offset, label, (y, class) for each model, features..., topic].
function pointShape(store) {
  const models = store.job.models.length;
  return { label: 3, y: m => 4 + 2 * m, cls: m => 5 + 2 * m, feature: f => 4 + 2 * models + f };
}

function seldom(draw) {
  draw.every = POINTS_EVERY;
  return draw;
}

// Why a panel that needs labels is empty; "" when it is not.
function labelsMissing(store, points) {
  if (points.length) return "";
  return store.job.labels_come_later ? "no label has come to one of the sampled records yet" : "none of the sampled records has a label";
}

// Columns of the store over time or records; those that are known to be true dashed, in the colour of what should be like them.
export function seriesPanel(view, parent, id, title, note, keys, unit, options = {}) {
  const { store } = view, { columns } = store.job, shown = keys.map(key => store.column(key)).filter(at => at >= 0);
  if (!shown.length) return null;
  const place = card(parent, id, title, note, options), strip = options.strip ?? (label => label);
  const truths = shown.map(at => columns.findIndex(column => column.of === at)), order = [...shown, ...truths.filter(at => at >= 0)];
  const series = shown.map((at, i) => ({ label: strip(columns[at].label), colour: i, width: 2 }));
  truths.forEach((at, i) => { if (at >= 0) series.push({ label: strip(columns[at].label), colour: i, dash: [6, 4] }); });
  place.chart = new Lines(place.draw, series, unit, options);
  let mark = "";
  const { text } = place, { said } = options; // numbers that would hide the others stand in the text
  return () => {
    const rows = view.whole ? store.whole : store.recent, now = `${view.whole} ${view.overRecords} ${document.documentElement.dataset.theme} ${rows.length} ${rows.at(-1)?.[0]}`;
    if (now === mark) return; // numbers over time come twice a second, events ten times
    mark = now;
    if (said) text.textContent = note + said(rows.at(-1));
    place.chart.set([rows.map(row => view.overRecords ? row[1] : row[0] / 1000), ...order.map(at => rows.map(row => row[at] ?? null))],
      view.overRecords ? "records taken in" : "");
  };
}

// A label that is the message's key has no name of its own.
const labelName = job => !job.label || job.label === "@key" ? "label" : job.label;

// A folder's or a file's own name stands for its path.
const topicName = path => path.slice(path.lastIndexOf("/") + 1) || path;

// How wrong the model was, by where records stand in their topics: train and test are topics of their own.
export function offsetsPanel(view, parent, m, model) {
  const { store } = view, isNumber = model.judged === "number", what = isNumber ? "mean squared error" : "share wrong";
  const place = card(parent, `offsets-${model.name}`, `${model.name}: ${isNumber ? "squared error" : "wrong classes"} by offset`, "waiting for rows with a label");
  if (store.job.labels_come_later) {
    place.text.textContent = "labels come on topics of their own: their rows have no offset here";
    place.rows = () => [["topic", "offset", what]];
    return () => {};
  }
  let found = [], names = "";
  store.poll("api/v1/offsets", 2500, answer => { found = answer.models.find(one => one.model === model.name)?.topics.filter(topic => topic.rows) ?? []; });
  return () => {
    const now = found.map(topic => topic.topic).join("\n");
    if (!found.length) return;
    if (now !== names) {
      names = now;
      place.draw.replaceChildren();
      place.chart = new Lines(place.draw, found.flatMap((topic, i) => [{ label: topicName(topic.topic), colour: i, width: 1.5 },
        { label: `mean of ${topicName(topic.topic)}`, colour: i, dash: [6, 4] }]), what, { log: true });
    }
    const xs = [...new Set(found.flatMap(topic => topic.bins.map(bin => bin[0])))].sort((a, b) => a - b);
    place.chart.set([xs, ...found.flatMap(topic => {
      const bins = new Map(topic.bins.map(bin => [bin[0], bin[1]]));
      return [xs.map(x => bins.get(x) ?? null), xs.map(() => topic.mean)];
    })], "offset");
    const rows = found.reduce((sum, topic) => sum + topic.rows, 0);
    place.text.textContent = `${found.map(topic => `${topicName(topic.topic)}: ${short(topic.mean)}`).join(", ")} (${what} of the ${rows.toLocaleString()} sampled rows since the start; dashed)`;
  };
}

export function actualPanel(view, parent, m, model) {
  const { store } = view, at = pointShape(store), unit = labelName(store.job);
  const place = card(parent, `actual-${model.name}`, `${model.name}: prediction against actual`, "");
  const plane = place.chart = new Plane(place.draw, `actual ${unit}`, `predicted ${unit}`);
  let points = [];
  plane.csv = () => [["time", "offset", "actual", "predicted", "residual"], ...points.map(p => [new Date(p[0]).toISOString(), p[2], p[3], p[at.y(m)], p[3] - p[at.y(m)]])];
  return seldom(() => {
    points = store.points.filter(p => p[3] !== null && p[at.y(m)] !== null).slice(-SHOWN);
    place.text.textContent = labelsMissing(store, points) || `the last ${points.length} sampled rows; on the line a prediction is right`;
    const actual = points.map(p => p[3]), pen = plane.begin(actual, [...points.map(p => p[at.y(m)]), ...actual]);
    pen.strokeStyle = colour(GREY);
    pen.lineWidth = 1.5;
    pen.setLineDash([6, 4]);
    plane.line(pen, [[plane.x[0], plane.x[0]], [plane.x[1], plane.x[1]]].map(([x, y]) => [Math.min(Math.max(x, plane.y[0]), plane.y[1]), Math.min(Math.max(y, plane.y[0]), plane.y[1])]));
    pen.setLineDash([]);
    pen.fillStyle = colour(0);
    pen.globalAlpha = 0.6;
    for (const p of points) plane.dot(pen, p[3], p[at.y(m)], 4);
    pen.globalAlpha = 1;
  });
}

export function residualsPanel(view, parent, m, model) {
  const { store } = view, at = pointShape(store), unit = labelName(store.job);
  const place = card(parent, `residuals-${model.name}`, `${model.name}: residuals`, "");
  place.chart = new Lines(place.draw, [{ label: "actual minus predicted", points: true, colour: 1 }, { label: "none", colour: GREY, width: 1, dash: [6, 4] }], `residual of ${unit}`);
  return seldom(() => {
    const points = store.points.filter(p => p[3] !== null && p[at.y(m)] !== null).slice(-SHOWN);
    const sum = points.reduce((all, p) => all + (p[3] - p[at.y(m)]) ** 2, 0);
    place.text.textContent = labelsMissing(store, points) || `actual minus predicted; root of the mean square ${short(Math.sqrt(sum / points.length))}`;
    place.chart.set([points.map((p, i) => p[0] / 1000 + i * 1e-6), points.map(p => p[3] - p[at.y(m)]), points.map(() => 0)], "");
  });
}

export function classesPanel(view, parent, m, model) {
  const { store } = view, at = pointShape(store), feature = store.job.features[0] ?? "feature 1";
  const place = card(parent, `classes-${model.name}`, `${model.name}: class over ${feature}`, "sampled rows, coloured by class");
  const names = Array.from({ length: Math.min(model.classes || 8, 8) }, (_, i) => model.labels[i] ?? `class ${i}`);
  if (model.classes > names.length) place.text.textContent += `; classes beyond the ${names.length}th are left out`;
  place.chart = new Lines(place.draw, names.map((name, i) => ({ label: name, points: true, colour: i })), feature);
  return seldom(() => {
    const points = store.points.slice(-800);
    place.chart.set([points.map((p, i) => p[0] / 1000 + i * 1e-6), ...names.map((_, i) => points.map(p => p[at.cls(m)] === i ? p[at.feature(0)] : null))], "");
  });
}

const pairs = (row, first, count) => Array.from({ length: count >> 1 }, (_, i) => [row?.[first + 2 * i], row?.[first + 2 * i + 1]]).filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y));

export function centresPanel(view, parent, m, model) {
  const { store } = view, at = pointShape(store), { features } = store.job, [first, count, all] = model.numbers, [true_at, true_count] = model.truth;
  if (features.length < 2) return null;
  const place = card(parent, `centres-${model.name}`, `${model.name}: centres${model.is_raw ? " and points" : ""}`, "");
  place.text.textContent = `${model.is_raw ? "sampled rows by nearest centre, and " : ""}the way of the centres; sizes are shares of the rows sampled last` +
    `${true_count ? "; crosses are where they truly are" : ""}${features.length > 2 ? `; the first two of ${features.length} features` : ""}${all > count ? `; ${count >> 1} of ${all >> 1} centres` : ""}`;
  const names = model.is_raw ? features.slice(0, 2) : features.slice(0, 2).map(name => `${name}, as ${model.input} gives it`), plane = place.chart = new Plane(place.draw, ...names, 330);
  let centres = [];
  plane.csv = () => [["centre", ...names], ...centres.map(([x, y], i) => [i, x, y])];
  return seldom(() => {
    const points = store.points.slice(-1200), rows = store.recent, now = rows.at(-1), shown = model.is_raw ? points : [], truths = pairs(now, true_at, true_count);
    centres = pairs(now, first, count);
    const pen = plane.begin([...shown.map(p => p[at.feature(0)]), ...centres.map(c => c[0]), ...truths.map(c => c[0])], [...shown.map(p => p[at.feature(1)]), ...centres.map(c => c[1]), ...truths.map(c => c[1])]);
    const sizes = centres.map(() => 0);
    pen.globalAlpha = isDark() ? 0.7 : 0.4;
    for (const point of points) {
      const cls = point[at.cls(m)];
      if (cls >= 0 && cls < sizes.length) sizes[cls]++;
      pen.fillStyle = colour(Math.max(cls, 0));
      if (model.is_raw) plane.dot(pen, point[at.feature(0)], point[at.feature(1)], 3);
    }
    pen.globalAlpha = 1;
    pen.lineWidth = 2;
    centres.forEach((centre, i) => {
      const share = sizes[i] / Math.max(points.length, 1);
      pen.strokeStyle = colour(i);
      plane.line(pen, rows.map(row => [row[first + 2 * i], row[first + 2 * i + 1]]).filter(([x]) => Number.isFinite(x)));
      pen.beginPath();
      pen.arc(plane.px(centre[0]), plane.py(centre[1]), 6 + 20 * Math.sqrt(share), 0, 7);
      pen.strokeStyle = plane.ink();
      pen.stroke();
    });
    pen.strokeStyle = plane.ink();
    for (const [x, y] of truths) plane.cross(pen, x, y, 6);
    pen.textAlign = "center";
    pen.lineWidth = 3;
    pen.strokeStyle = plane.paper();
    pen.fillStyle = plane.ink();
    centres.forEach((centre, i) => {
      const text = `${i}: ${(100 * sizes[i] / Math.max(points.length, 1)).toFixed(0)} %`, left = plane.px(centre[0]), top = plane.py(centre[1]) - 12 - 20 * Math.sqrt(sizes[i] / Math.max(points.length, 1));
      pen.strokeText(text, left, top);
      pen.fillText(text, left, top);
    });
  });
}

export function histogramPanel(view, parent, m, model) {
  const { store } = view, at = pointShape(store), BINS = 30;
  const unit = model.classes ? (model.is_logit ? "score" : "probability") : "prediction";
  const place = card(parent, `scores-${model.name}`, `${model.name}: ${unit === "prediction" ? "predictions" : "scores"}`, "how often, of the rows sampled last");
  const plane = place.chart = new Plane(place.draw, unit, "rows");
  let bins = [], low = 0, step = 1;
  plane.csv = () => [[`${unit} from`, "to", "rows"], ...bins.map((count, i) => [low + i * step, low + (i + 1) * step, count])];
  return seldom(() => {
    const values = store.points.map(p => p[at.y(m)]).filter(Number.isFinite);
    let high = -Infinity;
    low = Infinity;
    for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
    if (!(high > low)) { low -= 0.5; high += 0.5; }
    if (!values.length) [low, high] = [0, 1];
    bins = new Array(BINS).fill(0);
    step = (high - low) / BINS;
    for (const value of values) bins[Math.min(BINS - 1, Math.floor((value - low) / step))]++;
    const pen = plane.begin([low, high], [0, Math.max(1, ...bins)], true);
    pen.fillStyle = colour(0);
    bins.forEach((count, i) => {
      const left = plane.px(low + i * step), right = plane.px(low + (i + 1) * step);
      pen.fillRect(left + 0.5, plane.py(count), Math.max(1, right - left - 1), plane.py(0) - plane.py(count));
    });
  });
}

export function confusionPanel(view, parent, m, model) {
  const { store } = view, at = pointShape(store), k = model.classes;
  if (k < 2 || k > 12) return null;
  const place = card(parent, `confusion-${model.name}`, `${model.name}: actual and predicted class`, "", { isTable: true });
  const name = i => model.labels[i] ?? String(i), names = Array.from({ length: k }, (_, i) => name(i));
  const fill = table(place, ["actual \\ predicted", ...names], ["", ...names.map(() => "n")]);
  return seldom(() => {
    const counts = Array.from({ length: k }, () => new Array(k).fill(0));
    let rows = 0;
    for (const point of store.points) {
      const label = point[at.label], cls = point[at.cls(m)];
      if (label === null || cls < 0 || label < 0 || label >= k || label % 1) continue;
      counts[label][cls]++;
      rows++;
    }
    place.text.textContent = `rows of each kind, of the ${rows} sampled last that had a label`;
    fill(counts.map((row, i) => [name(i), ...row]));
  });
}

// One arm against the control: the difference, what is sure of it whenever one looks, and what a fixed test would say.
export function differencePanel(view, parent, m, model, suffix) {
  const { store } = view, key = what => `model.${m}.found.${what}${suffix}`, column = what => store.column(key(what));
  const keys = ["always_high", "always_low", "high", "low", "difference"].map(column);
  if (keys.some(at => at < 0)) return null;
  const arm = suffix ? suffix.slice(1) : "", place = card(parent, `difference-${model.name}${arm ? `-${arm}` : ""}`, `${model.name}: ${arm || "difference"}${arm ? " against the control" : " of the arms"}`, "");
  const truth = store.job.columns.findIndex(one => one.of === keys[4]), wide = 0, thin = 1;
  const series = [{ label: "whenever one looks, up to", colour: wide, width: 1 }, { label: "and from", colour: wide, width: 1 },
    { label: "fixed test, up to", colour: thin, width: 1, dash: [2, 3] }, { label: "and from", colour: thin, width: 1, dash: [2, 3] },
    { label: "difference", colour: wide, width: 2.5 }, { label: "no difference", colour: GREY, width: 1.5 }];
  if (truth >= 0) series.push({ label: "true difference", colour: 2, dash: [6, 4], width: 2 });
  place.chart = new Lines(place.draw, series, "difference of means", { bands: [[1, 2, wide]], settles: true });
  let mark = "";
  return () => {
    const rows = view.whole ? store.whole : store.recent, now = rows.at(-1), value = what => now?.[column(what)], state = `${view.whole} ${view.overRecords} ${document.documentElement.dataset.theme} ${now?.[0]}`;
    if (state === mark || !now) return;
    mark = state;
    const x = rows.map(row => view.overRecords ? row[1] : row[0] / 1000);
    place.chart.set([x, ...keys.map(at => rows.map(row => row[at] ?? null)), x.map(() => 0), ...truth < 0 ? [] : [rows.map(row => row[truth] ?? null)]], view.overRecords ? "records taken in" : "");
    const decided = value("decision");
    place.text.textContent = value("difference") === null || value("difference") === undefined ? "not both arms have records yet"
      : `${short(value("difference"))}, surely ${short(value("always_low"))} to ${short(value("always_high"))} (p ${short(value("always_p"))}); fixed test p ${short(value("p"))}: ${decided ? `decided, the arm is ${decided > 0 ? "higher" : "lower"}` : "not decided"}`;
  };
}

// The arms, and what the model says in its own words; a warning stands out.
export function armsPanel(view, parent, m, model) {
  const { store } = view, [first, count] = model.says, names = store.job.columns.slice(first, first + count).map(column => column.label);
  const arms = names.filter(name => name.startsWith("count.")).map(name => name.slice(6));
  if (!arms.length) return null;
  const place = card(parent, `arms-${model.name}`, `${model.name}: arms`, "records and mean of each arm, the control first", { isTable: true });
  const fill = table(place, ["arm", "records", "share", "mean"], ["", "n", "n", "n"]), says = element("ul", "", place.draw, "says");
  store.poll("api/v1/models", 2500, models => {
    says.replaceChildren(...(models.find(one => one.name === model.name)?.found ?? []).filter(line => !line.startsWith("arm ")).map(line => element("li", line, null, line.startsWith("SAMPLE RATIO") ? "bad" : "")));
  });
  return () => {
    const row = store.frame?.values ?? [], value = name => row[store.column(`model.${m}.found.${name}`)], counts = arms.map(arm => value(`count.${arm}`) ?? 0), sum = counts.reduce((a, b) => a + b, 0);
    fill(arms.map((arm, i) => [arm, counts[i].toLocaleString(), sum ? `${(100 * counts[i] / sum).toFixed(1)} %` : "–", short(value(`mean.${arm}`))]));
  };
}

// A person types an id; who came by lately is offered.
export function recommendPanel(view, parent, model) {
  const { store } = view, place = card(parent, `top-${model.name}`, `${model.name}: the best for a user`, "", { isTable: true }), path = `api/v1/recommend?model=${encodeURIComponent(model.name)}`;
  const form = element("form", "", place.draw, "ask"), label = element("label", "user id ", form), input = element("input", "", label), list = element("datalist", "", form);
  input.name = "user";
  input.maxLength = 512;
  input.autocomplete = "off";
  list.id = `ids-${model.name}`;
  input.setAttribute("list", list.id);
  element("button", "Show", form).type = "submit";
  const recent = element("p", "", place.draw, "ids"), said = element("p", "", place.draw), fill = table(place, ["rank", "item", "score"], ["n", "", "n"]);
  said.setAttribute("role", "status");
  const ask = async user => {
    try {
      const answer = await get(`${path}&user=${encodeURIComponent(user)}`);
      said.textContent = answer.is_known ? `for user ${answer.user}, without what that user has rated` : `user ${answer.user} is not known to the model: these suit anybody`;
      fill(answer.items.map((one, i) => [String(i + 1), String(one.item), one.score === null ? "–" : one.score.toFixed(3)]));
    } catch (reason) {
      said.textContent = reason.message;
      fill([]);
    }
  };
  form.addEventListener("submit", event => {
    event.preventDefault();
    if (input.value.trim()) ask(input.value.trim());
  });
  let shown = "";
  store.poll(path, 2000, answer => {
    place.text.textContent = `the ${answer.top} best of ${model.items.toLocaleString()} items, as the model scores now`;
    if (view.paused || answer.ids.join() === shown || recent.contains(document.activeElement)) return;
    if (!shown && !input.value && answer.ids.length) ask(input.value = answer.ids[0]);
    shown = answer.ids.join();
    list.replaceChildren(...answer.ids.map(id => { const option = element("option"); option.value = id; return option; }));
    recent.replaceChildren("came by: ", ...answer.ids.slice(0, 8).map(id => {
      const button = element("button", id);
      button.type = "button";
      button.addEventListener("click", () => ask(input.value = id));
      return button;
    }));
  });
  return () => {};
}
