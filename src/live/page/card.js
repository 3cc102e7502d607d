// A panel's frame: its head, its text, and buttons that copy what it shows as a picture or as numbers.
import { short, style } from "./draw.js";

export function element(tag, text, parent, name) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (name) made.className = name;
  parent?.append(made);
  return made;
}

// Where a clipboard is forbidden (an address that is not this machine's, an old browser) it becomes a file.
async function hand(blob, name, write) {
  try {
    await write();
    return "copied";
  } catch {
    const link = element("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    return "saved";
  }
}

function csvText(rows) {
  const cell = value => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map(row => row.map(cell).join(",") + "\r\n").join("");
}

// The chart with its title and what its colours mean, which on the page are text beside it.
function pictureMake(canvas, title, legend) {
  const ratio = canvas.width / canvas.clientWidth || 1, made = document.createElement("canvas"), pen = made.getContext("2d");
  const line = 18 * ratio, left = 10 * ratio;
  pen.font = `${12 * ratio}px system-ui, sans-serif`;
  const places = [];
  let x = left, rows = legend.length ? 1 : 0;
  for (const [name] of legend) {
    const width = pen.measureText(name).width + 30 * ratio;
    if (x + width > canvas.width && x > left) { x = left; rows++; }
    places.push([x, rows]);
    x += width;
  }
  made.width = canvas.width;
  made.height = canvas.height + 26 * ratio + rows * line + 6 * ratio;
  pen.fillStyle = style("--card");
  pen.fillRect(0, 0, made.width, made.height);
  pen.fillStyle = style("--ink");
  pen.font = `600 ${14 * ratio}px system-ui, sans-serif`;
  pen.fillText(title, left, 18 * ratio);
  pen.drawImage(canvas, 0, 26 * ratio);
  pen.font = `${12 * ratio}px system-ui, sans-serif`;
  legend.forEach(([name, colour], i) => {
    const [at, row] = places[i], y = canvas.height + 22 * ratio + row * line;
    pen.fillStyle = colour;
    pen.fillRect(at, y - 9 * ratio, 10 * ratio, 10 * ratio);
    pen.fillStyle = style("--ink");
    pen.fillText(name, at + 15 * ratio, y);
  });
  return new Promise(done => made.toBlob(done, "image/png"));
}

function copyButton(head, text, title, what) {
  const button = element("button", text, head, "copy");
  button.type = "button";
  button.title = title;
  button.setAttribute("aria-label", title);
  button.addEventListener("click", async () => {
    button.dataset.done = button.textContent = await what();
    setTimeout(() => { button.textContent = text; delete button.dataset.done; }, 1500);
  });
}

// place.chart: a Lines or a Plane; place.rows: gives a list of rows, the first of them names. Either may come later.
export function card(parent, id, title, note, options = {}) {
  const panel = element("section", "", parent, `panel${options.wide ? " wide" : ""}`);
  panel.id = id;
  panel.setAttribute("aria-labelledby", `${id}-title`);
  const head = element("div", "", panel, "head"), name = element("h2", title, head);
  name.id = `${id}-title`;
  const text = element("p", note, panel), draw = element("div", "", panel, options.isTable ? "" : "draw"), place = { panel, head, text, draw };
  const rows = () => place.rows?.() ?? place.chart?.rows() ?? [];
  if (!options.isTable)
    copyButton(head, "PNG", `Copy the picture of “${title}”`, async () => {
      const canvas = draw.querySelector("canvas");
      if (!canvas) return "empty";
      const picture = pictureMake(canvas, title, place.chart?.legend?.() ?? []), blob = await picture;
      return hand(blob, `${id}.png`, () => navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]));
    });
  copyButton(head, "CSV", `Copy the numbers of “${title}”`, () => {
    const list = csvText(rows());
    return hand(new Blob([list], { type: "text/csv" }), `${id}.csv`, () => navigator.clipboard.writeText(list));
  });
  return place;
}

// A table whose cells are texts; marks: a class for each column, or none. Filled anew when its rows differ.
export function table(place, names, marks = []) {
  const made = element("table", "", element("div", "", place.draw, "scroll"));
  const head = element("tr", "", element("thead", "", made)), body = element("tbody", "", made);
  names.forEach((name, i) => { element("th", name, head, marks[i]).scope = "col"; });
  let shown = "", held = [];
  place.rows = () => [names, ...held];
  return rows => {
    const key = JSON.stringify(rows);
    if (key === shown) return;
    shown = key;
    held = rows;
    made.hidden = !rows.length;
    body.replaceChildren(...rows.map(row => {
      const line = element("tr");
      row.forEach((value, i) => element("td", typeof value === "number" ? short(value) : value, line, marks[i]));
      return line;
    }));
  };
}
