// Which panels a job has, in the order that people look: what it finds out first, the machine room last.
import { element } from "./card.js";
import { short } from "./draw.js";
import { deadPanel, logPanel, modelsPanel } from "./machine.js";
import { actualPanel, armsPanel, centresPanel, classesPanel, confusionPanel, differencePanel, histogramPanel, offsetsPanel, recommendPanel, residualsPanel, seriesPanel } from "./results.js";

function group(parent, title, name = "") {
  const made = element("section", "", parent);
  element("h2", title, made, "group");
  return element("div", "", made, `panels ${name}`.trim());
}

function numbersPanel(view, parent, m, model) {
  const { columns } = view.store.job, [first, count, all] = model.numbers, isCentres = model.type === "kmeans";
  if (!model.learns || !count) return null;
  const keys = columns.slice(first, first + count - (isCentres || count < 2 ? 0 : 1)).map(column => column.key), [, truths] = model.truth;
  const said = isCentres || count < 2 ? undefined : row => `; intercept ${short(row?.[first + count - 1])}`; // of other units than the rest
  const note = `${model.is_raw && model.input ? `as they are learned, of the features as they come: ${model.input} is taken back` : "as they are learned"}` +
    `${truths && !isCentres ? "; dashed: what is true" : ""}${all > count ? `; the first ${count} of ${all}` : ""}`;
  return seriesPanel(view, parent, `numbers-${model.name}`, `${model.name}: ${isCentres ? "where its centres are" : "coefficients"}`, note, keys, isCentres ? "place" : "coefficient", { said });
}

// What draws a panel, and where it is: one that is far from what is seen is not drawn.
function adder(parent, made) {
  return draw => {
    if (!draw) return;
    draw.place = parent.lastElementChild;
    made.push(draw);
  };
}

function modelPanels(view, parent, add, m, model) {
  const { store } = view, { job } = store, isJudged = model.judged !== "no" && (job.label || job.labels_come_later);
  const isNumber = isJudged && model.judged === "number";
  if (isJudged && job.has_topics) add(offsetsPanel(view, parent, m, model)); // train and test apart
  if (isNumber) add(actualPanel(view, parent, m, model));
  if (model.type === "kmeans") add(centresPanel(view, parent, m, model));
  if (model.classes && model.type !== "kmeans") add(classesPanel(view, parent, m, model));
  add(numbersPanel(view, parent, m, model));
  if (isNumber) add(residualsPanel(view, parent, m, model));
  if (model.items) add(recommendPanel(view, parent, model));
  const outputs = job.columns.slice(model.says[0], model.says[0] + model.says[1]).map(column => column.label);
  for (const name of outputs.filter(name => /^difference(\.|$)/.test(name))) add(differencePanel(view, parent, m, model, name.slice("difference".length)));
  if (outputs.length) add(armsPanel(view, parent, m, model));
  if (model.width === 1 && model.has_y && !["kmeans", "scaler"].includes(model.type)) add(histogramPanel(view, parent, m, model));
  if (isJudged && model.judged === "classes") add(confusionPanel(view, parent, m, model));
  if (isJudged && !job.has_topics) add(offsetsPanel(view, parent, m, model));
}

// Returns what draws them.
export function panelsMake(view, parent) {
  const { store } = view, { job } = store, columns = (test, what) => job.models.map((model, m) => test(model) ? `model.${m}.${what}` : null).filter(Boolean);
  const made = [], result = group(parent, "Result", "result"), add = adder(result, made);
  const losses = columns(model => model.judged !== "no" || (model.learns && !["scaler", "abtest"].includes(model.type)), "loss");
  add(seriesPanel(view, result, "loss", "Loss", "of predictions made before learning; mean of each half second", losses, "mean loss", { log: true }));
  add(seriesPanel(view, result, "right", "Right class", "share of labelled rows", columns(model => model.judged === "classes", "right"), "%"));
  job.models.forEach((model, m) => modelPanels(view, result, add, m, model));
  const work = group(parent, "Machine room", "small"), addWork = adder(work, made);
  if (job.has_lag) addWork(seriesPanel(view, work, "lag", "Lag", "records in the topics that are not taken in yet", ["lag"], "records"));
  addWork(seriesPanel(view, work, "rate", "Records", "taken in, acknowledged and dead", ["in", "out", "dead"], "records/s"));
  addWork(seriesPanel(view, work, "latency", "Latency", "from poll to acknowledgement", ["p50", "p99", "p999"], "ms", { log: true }));
  addWork(seriesPanel(view, work, "stages", "Time by stage", "of all lanes together", job.columns.filter(column => column.key.startsWith("stage.")).map(column => column.key), "ms/s"));
  addWork(seriesPanel(view, work, "batch", "Batch size", "records a batch", ["batch"], "records"));
  addWork(seriesPanel(view, work, "cpu", "CPU", `of the whole process, on ${job.backend}`, ["cpu"], "cores"));
  const books = element("div", "", work.parentElement, "panels books"), addBook = adder(books, made);
  for (const panel of [deadPanel, modelsPanel, logPanel]) addBook(panel(view, books));
  for (const part of [result, work]) if (!part.childElementCount) part.parentElement.remove();
  return made;
}
