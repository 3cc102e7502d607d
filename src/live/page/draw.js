// Charts: lines over time by uPlot, points and bars on a canvas. Colours are Okabe and Ito's, told apart without red and green;
// lighter ones where the page is dark.
const LIGHT = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#7f7f7f"];
const DARK = ["#56b4e9", "#ff8f3f", "#2ec79e", "#e6a3c8", "#f2c14e", "#8fb8ff", "#b79be0", "#a8b0b8"];
export const GREY = 7;
const HEIGHT = 220;

export function isDark() {
  return document.documentElement.dataset.theme === "dark";
}

// As the page is now: charts ask again when it has changed.
export function colour(i) {
  return (isDark() ? DARK : LIGHT)[i % LIGHT.length];
}

export function style(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function short(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e12) return value.toExponential(1);
  if (size >= 1e9) return (value / 1e9).toPrecision(3) + " G";
  if (size >= 1e6) return (value / 1e6).toPrecision(3) + " M";
  if (size >= 1e4) return (value / 1e3).toPrecision(3) + " k";
  if (size >= 100 || Number.isInteger(value)) return value.toFixed(0);
  if (size >= 1) return value.toPrecision(3);
  return size < 1e-4 ? value.toExponential(1) : value.toPrecision(2);
}

// Round places for marks on an axis.
function marks(low, high, most) {
  const rough = (high - low) / most, size = 10 ** Math.floor(Math.log10(rough)), step = [1, 2, 2.5, 5, 10].find(factor => factor * size >= rough) * size;
  const first = Math.ceil(low / step), count = Math.floor(high / step) - first + 1;
  return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

// On a logarithmic axis; between two powers of ten that are close, half steps.
function decades(low, high) {
  const from = Math.floor(Math.log10(low)), to = Math.ceil(Math.log10(high)), factors = to - from > 2 ? [1] : [1, 2, 5];
  return Array.from({ length: to - from + 1 }, (_, i) => factors.map(factor => factor * 10 ** (from + i))).flat().filter(value => value >= low && value <= high);
}

// Times of a day; with tenths where marks are closer than a second, with the day where there are several.
export function clock(values) {
  const span = values.length > 1 ? values.at(-1) - values[0] : 0, step = values.length > 1 ? values[1] - values[0] : 1;
  return values.map(at => {
    const date = new Date(at * 1000), time = date.toLocaleTimeString([], { hour12: false, hour: "2-digit", minute: "2-digit", second: step < 60 ? "2-digit" : undefined });
    return `${span > 86400 ? date.toLocaleDateString([], { day: "numeric", month: "short" }) + " " : ""}${time}${step < 1 ? "." + Math.floor(date.getMilliseconds() / 100) : ""}`;
  });
}

function axis(label) {
  return {
    label, labelSize: 18, size: 46, stroke: style("--soft"), font: "11px system-ui", labelFont: "11px system-ui",
    grid: { stroke: style("--line"), width: 1 }, ticks: { stroke: style("--line"), width: 1 },
  };
}

// Numbers of very different size are drawn over a logarithmic axis: a loss that falls from 40,000 to 1.
function spansDecades(data) {
  let low = Infinity, high = 0;
  for (const values of data.slice(1)) for (const value of values) {
    if (!Number.isFinite(value)) continue;
    if (value <= 0) return false;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return high > 100 * low;
}

// Lines: series [{label, colour (its number), dash, points, width}], unit of the values; x is time (s), or something else that xName
// names. options: log, where decades may be; bands [[high, low, colour]] by number of the series.
export class Lines {
  constructor(place, series, unit, options = {}) {
    Object.assign(this, { place, series, unit, options });
    this.xName = "";
    new ResizeObserver(() => this.resize()).observe(place);
  }

  make(data) {
    this.plot?.destroy();
    const y = axis(`${this.unit}${this.isLog ? ", logarithmic" : ""}`);
    y.values = (_, ticks) => ticks.map(tick => tick === null ? "" : short(tick));
    y.size = 56;
    if (this.isLog) y.splits = (_, side, low, high) => decades(low, high);
    const x = axis(this.xName || "time");
    x.values = this.xName ? (_, ticks) => ticks.map(short) : (_, ticks) => clock(ticks);
    x.space = 84;
    x.size = 30;
    this.plot = new uPlot({
      width: Math.max(200, this.place.clientWidth), height: HEIGHT, scales: { x: { time: !this.xName, range: (_, low, high) => low === null ? [0, 1] : low === high ? [low - 1, low + 1] : [low, high] }, y: { distr: this.isLog ? 3 : 1, ...this.options.settles ? { range: (_, low, high) => this.settled(low, high) } : {} } },
      axes: [x, y], padding: [8, 28, 0, 0], legend: { live: true }, cursor: { y: false, points: { size: 6 } },
      bands: (this.options.bands ?? []).map(([high, low, fill]) => ({ series: [high, low], fill: `${colour(fill)}26` })),
      series: [{ label: this.xName || "time", value: (_, v) => v === null || v === undefined ? "–" : this.xName ? short(v) : clock([v])[0] }, ...this.series.map((one, i) => ({
        label: one.label, stroke: colour(one.colour ?? i), width: one.width ?? 1.5, dash: one.dash, spanGaps: true,
        paths: one.points ? () => null : undefined, points: one.points ? { show: true, size: 3.5, fill: colour(one.colour ?? i), width: 0 } : { show: false },
        value: (_, v) => v === null || v === undefined ? "–" : short(v),
      }))],
    }, data, this.place);
  }

  // xName: what x is, "" for time; its values then are seconds.
  set(data, xName) {
    this.data = data;
    if (!globalThis.uPlot) return;
    const theme = document.documentElement.dataset.theme, isLog = Boolean(this.options.log) && spansDecades(data);
    if (!this.plot || xName !== this.xName || theme !== this.theme || isLog !== this.isLog) {
      Object.assign(this, { xName, theme, isLog });
      this.make(data);
    } else {
      this.plot.setData(data);
    }
    if (this.plot.cursor.idx === null || this.plot.cursor.left < 0) this.plot.setLegend({ idx: data[0].length - 1 }, false);
  }

  // The range of the last three quarters: what swings at the start goes beyond it, and leaves room for what comes of it.
  settled(low, high) {
    const seen = this.data.slice(1).flatMap(list => list.slice(Math.floor(list.length / 4))).filter(Number.isFinite);
    if (!seen.length) return [low ?? 0, high ?? 1];
    const [least, most] = seen.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]), room = 0.08 * (most - least || 1);
    return [least - room, most + room];
  }

  legend() {
    return this.series.map((one, i) => [one.label, colour(one.colour ?? i)]);
  }

  rows() {
    const [x, ...values] = this.data ?? [[]];
    return [[this.xName || "time", ...this.series.map(one => one.label)],
      ...x.map((at, i) => [this.xName ? at : new Date(at * 1000).toISOString(), ...values.map(list => list[i])])];
  }

  resize() {
    const width = Math.max(200, this.place.clientWidth);
    if (this.plot && this.plot.width !== width) this.plot.setSize({ width, height: HEIGHT });
  }
}

// A canvas as sharp as the screen, with its own axes.
export class Plane {
  constructor(place, xLabel, yLabel, height = HEIGHT + 30) {
    Object.assign(this, { place, height });
    this.labels = [xLabel, yLabel];
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${yLabel} over ${xLabel}`);
    place.append(this.canvas);
  }

  rows() { return this.csv?.() ?? []; }

  legend() { return this.names ?? []; }

  begin(xs, ys, fromZero) {
    const ratio = devicePixelRatio || 1, width = Math.max(200, this.place.clientWidth), { height } = this;
    if (this.canvas.width !== Math.round(width * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${height}px`;
    }
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const range = values => {
      let low = Infinity, high = -Infinity;
      for (const value of values) if (Number.isFinite(value)) { low = Math.min(low, value); high = Math.max(high, value); }
      if (low > high) [low, high] = [0, 1];
      const pad = (high - low || Math.abs(high) || 1) * 0.05;
      return [low - pad, high + pad];
    };
    this.box = { left: 54, right: width - 8, top: 8, bottom: height - 36 };
    this.x = range(xs);
    this.y = range(ys);
    if (fromZero) this.y[0] = 0;
    this.axes(pen, width, height);
    return pen;
  }

  px(value) { return this.box.left + (value - this.x[0]) / (this.x[1] - this.x[0]) * (this.box.right - this.box.left); }
  py(value) { return this.box.bottom - (value - this.y[0]) / (this.y[1] - this.y[0]) * (this.box.bottom - this.box.top); }

  axes(pen, width, height) {
    pen.font = "11px system-ui";
    pen.fillStyle = style("--soft");
    pen.strokeStyle = style("--line");
    pen.lineWidth = 1;
    pen.setLineDash([]);
    pen.textAlign = "center";
    for (const x of marks(...this.x, Math.max(2, width / 90))) {
      const left = Math.round(this.px(x)) + 0.5;
      pen.beginPath(); pen.moveTo(left, this.box.top); pen.lineTo(left, this.box.bottom); pen.stroke();
      pen.fillText(short(x), left, this.box.bottom + 14);
    }
    pen.textAlign = "right";
    for (const y of marks(...this.y, Math.max(2, height / 50))) {
      const top = Math.round(this.py(y)) + 0.5;
      pen.beginPath(); pen.moveTo(this.box.left, top); pen.lineTo(this.box.right, top); pen.stroke();
      pen.fillText(short(y), this.box.left - 5, top + 4);
    }
    pen.textAlign = "center";
    pen.fillText(this.labels[0], (this.box.left + this.box.right) / 2, height - 6);
    pen.save();
    pen.translate(11, (this.box.top + this.box.bottom) / 2);
    pen.rotate(-Math.PI / 2);
    pen.fillText(this.labels[1], 0, 0);
    pen.restore();
  }

  ink() { return style("--ink"); }

  paper() { return style("--card"); }

  dot(pen, x, y, size) { pen.fillRect(this.px(x) - size / 2, this.py(y) - size / 2, size, size); }

  line(pen, points) {
    pen.beginPath();
    for (const [x, y] of points) pen.lineTo(this.px(x), this.py(y));
    pen.stroke();
  }

  cross(pen, x, y, size) {
    const [left, top] = [this.px(x), this.py(y)];
    pen.beginPath();
    pen.moveTo(left - size, top - size); pen.lineTo(left + size, top + size);
    pen.moveTo(left + size, top - size); pen.lineTo(left - size, top + size);
    pen.stroke();
  }
}
