// Charts: lines over time by uPlot, points and bars on a canvas. Colours are Okabe and Ito's, told apart without red and green.
export const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#7f7f7f"];
const HEIGHT = 210;

export function colour(i) {
  return COLOURS[i % COLOURS.length];
}

function style(name) {
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

function axis(label) {
  return {
    label, labelSize: 18, size: 46, stroke: style("--soft"), font: "11px system-ui", labelFont: "11px system-ui",
    grid: { stroke: style("--line"), width: 1 }, ticks: { stroke: style("--line"), width: 1 },
  };
}

// Lines: series [{label, dash, points}], unit of the values; x is time (s) or records.
export class Lines {
  constructor(place, series, unit, options = {}) {
    Object.assign(this, { place, series, unit, options });
    this.overRecords = false;
    new ResizeObserver(() => this.resize()).observe(place);
  }

  make(data) {
    this.plot?.destroy();
    const y = axis(this.unit);
    y.values = (_, ticks) => ticks.map(short);
    y.size = 56;
    const x = axis(this.overRecords ? "records taken in" : "time");
    if (this.overRecords) x.values = (_, ticks) => ticks.map(short);
    this.plot = new uPlot({
      width: Math.max(200, this.place.clientWidth), height: HEIGHT, scales: { x: { time: !this.overRecords }, y: { distr: this.options.log ? 3 : 1 } },
      axes: [x, y], legend: { live: true }, cursor: { y: false, points: { size: 6 } },
      series: [{ label: this.overRecords ? "records" : "time" }, ...this.series.map((one, i) => ({
        label: one.label, stroke: one.colour ?? colour(i), width: one.width ?? 1.5, dash: one.dash, spanGaps: true,
        paths: one.points ? () => null : undefined, points: one.points ? { show: true, size: 3, fill: one.colour ?? colour(i) } : { show: false },
        value: (_, v) => v === null ? "–" : `${short(v)}${this.unit ? " " + this.unit : ""}`,
      }))],
    }, data, this.place);
  }

  set(data, overRecords) {
    if (!globalThis.uPlot) return;
    const theme = document.documentElement.dataset.theme;
    if (!this.plot || overRecords !== this.overRecords || theme !== this.theme) {
      this.overRecords = overRecords;
      this.theme = theme;
      this.make(data);
    } else {
      this.plot.setData(data);
    }
    if (this.plot.cursor.idx === null || this.plot.cursor.left < 0) this.plot.setLegend({ idx: data[0].length - 1 }, false);
  }

  resize() {
    const width = Math.max(200, this.place.clientWidth);
    if (this.plot && this.plot.width !== width) this.plot.setSize({ width, height: HEIGHT });
  }
}

// A canvas as sharp as the screen, with its own axes.
export class Plane {
  constructor(place, xLabel, yLabel) {
    this.place = place;
    this.labels = [xLabel, yLabel];
    this.canvas = document.createElement("canvas");
    place.append(this.canvas);
  }

  begin(xs, ys, fromZero) {
    const ratio = devicePixelRatio || 1, width = Math.max(200, this.place.clientWidth), height = HEIGHT + 30;
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
      const pad = (high - low || Math.abs(high) || 1) * 0.06;
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
    for (let i = 0; i <= 4; i++) {
      const x = this.x[0] + (this.x[1] - this.x[0]) * i / 4, y = this.y[0] + (this.y[1] - this.y[0]) * i / 4;
      pen.beginPath();
      pen.moveTo(this.px(x), this.box.top); pen.lineTo(this.px(x), this.box.bottom);
      pen.moveTo(this.box.left, this.py(y)); pen.lineTo(this.box.right, this.py(y));
      pen.stroke();
      pen.textAlign = i === 0 ? "left" : i === 4 ? "right" : "center";
      pen.fillText(short(x), this.px(x), this.box.bottom + 14);
      pen.textAlign = "right";
      pen.fillText(short(y), this.box.left - 5, this.py(y) + 4);
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
}
