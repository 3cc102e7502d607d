// Panels of the machine room: models, dead letters, the log.
import { card, table } from "./card.js";
import { clock, short } from "./draw.js";

const time = at => clock([at / 1000])[0];

export function modelsPanel(view, parent) {
  const { store } = view, { job } = store, place = card(parent, "models", "Models", "", { isTable: true });
  place.text.textContent = `what scores the records${job.models_left.length ? `; there is no room here for ${job.models_left.join(", ")}, which work all the same` : ""}`;
  const fill = table(place, ["model", "type", "learns", "version", "loss", "right"], ["", "", "", "n", "n", "n"]);
  return () => {
    const values = store.frame?.values ?? [];
    fill(job.models.map(model => {
      const [loss, right, version] = [0, 1, 2].map(i => values[model.columns + i]);
      return [model.name, model.type, model.learns ? "yes" : "no", short(version), short(loss), Number.isFinite(right) ? `${right.toFixed(1)} %` : "–"];
    }));
  };
}

export function deadPanel(view, parent) {
  const { store } = view, place = card(parent, "dead", "Dead letters", "", { isTable: true });
  const fill = table(place, ["time", "topic", "partition", "offset", "reason", "field"], ["", "", "n", "n"]);
  return () => {
    const total = store.frame?.records.dead ?? 0;
    place.text.textContent = total ? `records that could not be scored: ${total.toLocaleString()} in all; the last ones:` : "records that could not be scored: none so far";
    fill(store.dead.slice(0, 8).map(dead => [time(dead.time), dead.topic, String(dead.partition), String(dead.offset), dead.reason, dead.field]));
  };
}

export function logPanel(view, parent) {
  const { store } = view, place = card(parent, "log", "Log", "", { isTable: true, wide: true });
  const fill = table(place, ["time", "level", "part", "text"]);
  return () => {
    place.text.textContent = store.log.length ? "warnings and errors of the program, the last ones first" : "warnings and errors of the program: none so far";
    fill(store.log.slice(0, 8).map(line => [time(line.time), line.level, line.component, line.text]));
  };
}
