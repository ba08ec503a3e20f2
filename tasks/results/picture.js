"use strict";

// Draws one run from the JSON in #data, which picture.py writes. Names are inserted as text, never
// as markup.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

// ---- texts ----

const ACTIVITIES = {
  boot: "Boot", start_task: "Start task", converting: "Converting", idle: "Idle",
  evicted: "Evicted", unusable: "Unusable",
};
const STATES = {
  converted: "converted", skipped: "skipped", failed: "failed", not_started: "not started",
  interrupted: "interrupted",
};
const REMARKS = { // on converted files
  "with a warning": (file) => data.files.warnings[file].length > 0,
  copied: (file) => data.files.copied[file],
};
const BAR_STATES = { succeeded: "converted", failed: "failed", running: "interrupted" };
const HIDDEN = /[\p{C}\p{Zl}\p{Zp}]/gu; // as in text.py

const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
const percent = (share) => (share === null ? "–" : `${Math.round(share * 100)} %`);

// Control characters in a hostile name could hide it or reverse its direction.
function printable(text) {
  return String(text).replace(
    HIDDEN, (c) => `\\u${c.codePointAt(0).toString(16).padStart(4, "0")}`);
}

function duration(seconds) {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h} h ${String(m).padStart(2, "0")} min` : `${m} min ${String(s).padStart(2, "0")} s`;
}

function clock(seconds, step = 1) {
  const [h, m] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const rest = (seconds % 60).toFixed(step < 1 ? 1 : 0).padStart(step < 1 ? 4 : 2, "0");
  return h ? `${h}:${String(m).padStart(2, "0")}:${rest}` : `${m}:${rest}`;
}

function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let n = 0;
  for (; bytes >= 1000 && n < units.length - 1; n += 1) bytes /= 1000;
  return `${n && bytes < 99.95 ? bytes.toFixed(1) : Math.round(bytes)} ${units[n]}`;
}

// The fill of a file, in each part of the page.
function fileFill(file) {
  const state = data.files.state[file];
  if (state !== "converted") return state;
  if (REMARKS["with a warning"](file)) return "warned";
  return REMARKS.copied(file) ? "copied" : state;
}

const lastAttempts = new Map();
for (const [, , , , , file, attempt] of data.bars) {
  lastAttempts.set(file, Math.max(attempt, lastAttempts.get(file) ?? 0));
}
const isLast = ({ file, attempt }) => file !== null && attempt === lastAttempts.get(file);

// The result of a file decides about its last attempt: a batch task that succeeded proves nothing.
const barFill = (mark) => (isLast(mark) ? fileFill(mark.file) : BAR_STATES[mark.state]);

const nodeName = (() => {
  const numbers = { spot: 0, dedicated: 0 };
  const names = data.nodes.map((node) => `${node.kind} ${(numbers[node.kind] += 1)}`);
  return (place) => names[place] ?? "";
})();

// ---- elements ----

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// ---- header ----

function showHead() {
  const { run, summary } = data;
  const title = `${count(summary.files, "conversion")} to ${run.presets.join(", ")}`;
  document.title = `${title} – ${data.headline}`;
  byId("title").textContent = title;
  byId("when").textContent = [
    new Date(run.started_at).toLocaleString("en-GB", { dateStyle: "long", timeStyle: "medium" }),
    `run ${run.id}`,
    `outputs in the container ${run.container}${run.prefix ? printable(`/${run.prefix}`) : ""}`,
  ].join(" · ");
  showFigures(summary);
  byId("summary").textContent = summaryText(summary);
  if (run.diagnosis) {
    const { summary: what, detail, remedy, code } = run.diagnosis;
    byId("diagnosis").textContent = printable(`${what} ${detail} ${remedy} (${code})`);
    byId("diagnosis").hidden = false;
  }
}

function showFigures(summary) {
  const hours = Object.entries(summary.node_hours).filter(([name]) => name !== "evicted");
  const total = hours.reduce((sum, [, value]) => sum + value, 0);
  const copied = data.files.copied.filter(Boolean).length;
  const counts = data.headline.split(", ").filter((text) => !text.endsWith(` ${STATES.converted}`));
  if (copied) counts.unshift(`${copied.toLocaleString("en")} copied`);
  const figures = [
    ["Converted", `${summary.converted.toLocaleString("en")} of ${summary.files.toLocaleString("en")}`,
      counts.join(", ")],
    ["Duration", duration(summary.seconds),
      summary.source_seconds ? `for ${duration(summary.source_seconds)} of media` : ""],
    ["Output size", size(summary.output_bytes), uploadText(summary)],
    ["Node time", duration(total * 3600), count(data.nodes.length, "node")
      + (summary.cost === null ? "" : `, ${summary.cost.toFixed(2)} at your price`)],
    ["Time converting", percent(summary.converting_share),
      summary.slot_share === null ? "" : `of node time; ${percent(summary.slot_share)} of slot time`],
  ];
  byId("figures").replaceChildren(...figures.map(([name, value, more]) => element(
    "div", {}, element("dt", {}, name),
    element("dd", {}, value, more ? element("small", {}, more) : null))));
}

function uploadText(summary) {
  if (!summary.sent_bytes) return "";
  const part = summary.sent_bytes === summary.source_bytes ? "" : ` for ${size(summary.source_bytes)} of sources`;
  return `${size(summary.sent_bytes)} uploaded${part}`;
}

function summaryText(summary) {
  const parts = [`${data.headline} in ${duration(summary.seconds)}.`];
  if (data.nodes.length) {
    const time = Object.entries(summary.node_hours).filter(([, hours]) => hours > 0)
      .map(([name, hours]) => `${ACTIVITIES[name].toLowerCase()} ${duration(hours * 3600)}`);
    parts.push(`${count(data.nodes.length, "node")}: ${time.join(", ")}.`);
    const lost = data.nodes.filter((node) => node.lost).length;
    if (lost) parts.push(`${count(lost, "node")} disappeared while the pool still existed.`);
  }
  return parts.join(" ");
}

// ---- timeline ----

const AXIS = 26, STAGE_ROW = 18, SLOT_ROW = 15, GAP = 7, LEAST_BAR = 1;

class Timeline {
  constructor(scroller, sizer, canvas, details) {
    Object.assign(this, { scroller, sizer, canvas, details, zoom: 1, chosen: null });
    this.span = Math.max(data.seconds, 0.001);
    this.layOut();
    this.listen();
    this.fit();
    this.showDetails(null);
  }

  // A row belongs to stages or to one slot. Its marks do not overlap and are sorted by time.
  layOut() {
    this.rows = [];
    this.bands = [];
    let y = AXIS + GAP;
    for (const marks of stageRows()) {
      this.rows.push({ y, height: STAGE_ROW, marks, label: this.rows.length ? "" : "stages" });
      y += STAGE_ROW + 2;
    }
    this.barRow = new Map();
    const slots = barsBySlot();
    data.nodes.forEach((node, place) => {
      y += GAP;
      this.bands.push({ y, height: node.slots * SLOT_ROW, place });
      for (let slot = 0; slot < node.slots; slot += 1) {
        const label = slot ? "" : nodeName(place);
        this.rows.push({ y, height: SLOT_ROW, marks: slots[place][slot], label, place, slot });
        y += SLOT_ROW;
      }
    });
    this.height = y + GAP;
    this.path = pathMarks();
  }

  listen() {
    const { scroller } = this;
    const redraw = () => this.request();
    scroller.addEventListener("scroll", redraw, { passive: true });
    new ResizeObserver(() => this.fit()).observe(scroller);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.colours = null;
      redraw();
    });
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerdown", (event) => this.point(event));
    this.canvas.addEventListener("dblclick", () => this.find());
    scroller.addEventListener("keydown", (event) => this.press(event));
    byId("zoom-in").addEventListener("click", () => this.magnify(2));
    byId("zoom-out").addEventListener("click", () => this.magnify(0.5));
    byId("zoom-all").addEventListener("click", () => this.magnify(0));
  }

  get gutter() { return this.width < 600 ? 76 : 108; }
  get plot() { return Math.max(50, (this.width - this.gutter - 12) * this.zoom); }
  x(seconds) { return this.gutter + (seconds / this.span) * this.plot - this.scroller.scrollLeft; }
  time(x) { return ((x - this.gutter + this.scroller.scrollLeft) / this.plot) * this.span; }

  fit() {
    this.width = this.scroller.clientWidth;
    const border = this.scroller.offsetHeight - this.scroller.clientHeight;
    const most = Math.min(innerHeight * 0.62, 736);
    this.view = Math.max(120, Math.min(this.height, most - border));
    const ratio = devicePixelRatio || 1;
    this.canvas.width = this.width * ratio;
    this.canvas.height = this.view * ratio;
    this.canvas.style.width = `${this.width}px`;
    this.canvas.style.height = `${this.view}px`;
    this.sizer.style.width = `${this.gutter + this.plot + 12}px`;
    this.sizer.style.height = `${this.height}px`;
    byId("zoom-out").disabled = byId("zoom-all").disabled = this.zoom <= 1;
    this.request();
  }

  magnify(factor) {
    const middle = this.chosen ? this.chosen.mark.start : this.time(this.gutter + this.width / 2);
    const most = Math.max(1, Math.min(4e6 / this.width, this.span * 4));
    this.zoom = factor ? Math.min(most, Math.max(1, this.zoom * factor)) : 1;
    this.fit();
    this.scroller.scrollLeft = (middle / this.span) * this.plot - this.width / 2 + this.gutter;
    this.request();
  }

  request() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.paint(); });
  }

  paint() {
    this.colours ??= Object.fromEntries(Object.keys(FILLS).concat(["ink", "muted", "page", "line",
      "path", "focus"]).map((name) => [name, colour(name)]));
    const pen = this.canvas.getContext("2d");
    const ratio = devicePixelRatio || 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.width, this.view);
    const top = this.scroller.scrollTop;
    const seen = (thing) => thing.y + thing.height > top + AXIS && thing.y < top + this.view;
    this.paintGrid(pen);
    pen.save();
    pen.beginPath();
    pen.rect(this.gutter, AXIS, this.width - this.gutter, this.view - AXIS);
    pen.clip();
    pen.translate(0, -top);
    this.bands.filter(seen).forEach((band) => this.paintBand(pen, band));
    this.rows.filter(seen).forEach((row) => this.paintRow(pen, row));
    this.paintPath(pen);
    if (this.chosen) this.paintChosen(pen);
    pen.restore();
    this.paintLabels(pen, this.rows.filter(seen), top);
  }

  paintGrid(pen) {
    const step = tickStep(this.span, this.plot / 90);
    pen.font = '12px system-ui, "DejaVu Sans", sans-serif';
    pen.textBaseline = "middle";
    pen.textAlign = "center";
    const first = Math.max(0, Math.floor(this.time(this.gutter) / step) * step);
    for (let at = first; at <= this.span && this.x(at) < this.width; at += step) {
      const x = Math.round(this.x(at)) + 0.5;
      if (x < this.gutter) continue;
      pen.strokeStyle = this.colours.line;
      pen.beginPath();
      pen.moveTo(x, AXIS - 5);
      pen.lineTo(x, this.view);
      pen.stroke();
      pen.fillStyle = this.colours.muted;
      pen.fillText(clock(at, step), Math.max(this.gutter + 16, x), AXIS / 2 - 1);
    }
  }

  paintBand(pen, band) {
    for (const [activity, start, end] of data.nodes[band.place].periods) {
      const under = activity === "converting" ? "idle" : activity;
      fill(pen, under, this.colours,
        [this.x(start), band.y, Math.max(LEAST_BAR, this.x(end) - this.x(start)), band.height]);
    }
  }

  paintRow(pen, row) {
    const [from, to] = [this.time(this.gutter), this.time(this.width)];
    let drawn = -1;
    for (let n = firstAfter(row.marks, from); n < row.marks.length; n += 1) {
      const mark = row.marks[n];
      if (mark.start > to) break;
      const left = this.x(mark.start);
      const width = Math.max(LEAST_BAR, this.x(mark.end) - left - (this.x(mark.end) - left > 4 ? 1 : 0));
      if (left + width < drawn && ["converted", "copied"].includes(mark.fill)) continue;
      drawn = left + width;
      fill(pen, mark.fill, this.colours, [left, row.y + 1.5, width, row.height - 3]);
      if (mark.text && width > 20) this.write(pen, mark.text, left, row, width);
    }
  }

  write(pen, text, left, row, width) {
    pen.font = '11px system-ui, "DejaVu Sans", sans-serif';
    pen.textAlign = "left";
    pen.fillStyle = this.colours.page;
    if (pen.measureText(text).width + 8 < width) {
      pen.fillText(text, left + 4, row.y + row.height / 2 + 0.5);
    }
  }

  paintPath(pen) {
    pen.strokeStyle = this.colours.path;
    pen.fillStyle = this.colours.path;
    pen.lineWidth = 1.5;
    let before = null;
    for (const step of this.path) {
      const row = this.rowOf(step);
      const y = row.y + row.height - 1.5;
      const [left, right] = [this.x(step.start), this.x(step.end)];
      pen.fillRect(left, y - 1, Math.max(1.5, right - left), 2.5);
      if (before !== null && before !== y) {
        pen.beginPath();
        pen.moveTo(left, before);
        pen.lineTo(left, y);
        pen.stroke();
      }
      before = y;
    }
    pen.lineWidth = 1;
  }

  rowOf(step) {
    if (step.place === undefined) {
      return this.rows.find((row) => row.place === undefined
        && row.marks.some((mark) => mark.name === step.name && mark.end >= step.end - 0.002));
    }
    const band = this.bands[step.place];
    const slot = step.slot ?? data.nodes[step.place].slots - 1;
    return { y: band.y + slot * SLOT_ROW, height: SLOT_ROW };
  }

  paintChosen(pen) {
    const { row, mark } = this.chosen;
    const [left, right] = [this.x(mark.start), this.x(mark.end)];
    pen.strokeStyle = this.colours.focus;
    pen.lineWidth = 2;
    pen.strokeRect(left - 1, row.y + 0.5, Math.max(3, right - left) + 2, row.height - 1);
    pen.lineWidth = 1;
  }

  paintLabels(pen, rows, top) {
    pen.font = '12px system-ui, "DejaVu Sans", sans-serif';
    pen.textAlign = "left";
    pen.fillStyle = this.colours.ink;
    for (const row of rows) {
      const y = row.y - top + row.height / 2 + 0.5;
      if (row.label && y > AXIS) pen.fillText(row.label, 10, y);
    }
  }

  // Returns the mark within two pixels of a point.
  under(x, y) {
    const top = y + this.scroller.scrollTop;
    const row = this.rows.find((each) => top >= each.y && top < each.y + each.height);
    if (!row || x < this.gutter || y < AXIS) return null;
    const [near, at] = [(2 / this.plot) * this.span, this.time(x)];
    const mark = row.marks[firstAfter(row.marks, at - near)];
    if (mark && mark.start <= at + near) return { row, mark };
    if (row.place === undefined) return null;
    const period = data.nodes[row.place].periods.find(([, start, end]) => start <= at && at < end);
    if (!period) return null;
    const name = period[0] === "converting" ? "Idle, while another slot converts" : undefined;
    return { row, mark: { start: period[1], end: period[2], activity: period[0], name } };
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    this.choose(this.under(event.clientX - box.left, event.clientY - box.top));
  }

  choose(found) {
    if (!found || (this.chosen && found.mark === this.chosen.mark)) return;
    this.chosen = found;
    this.showDetails(found);
    this.request();
  }

  showDetails(found) {
    if (!found) {
      const hint = `The run took ${duration(data.seconds)}. Select a bar to see its details.`;
      this.details.replaceChildren(element("p", { class: "muted" }, hint));
      return;
    }
    const { row, mark } = found;
    const when = `${clock(mark.start)} to ${clock(mark.end)} (${duration(mark.end - mark.start)})`;
    const where = row.place === undefined ? "" : `${nodeName(row.place)} (${data.nodes[row.place].id})`;
    const lines = mark.bar === undefined
      ? [[mark.name ?? ACTIVITIES[mark.activity]], [[where, when].filter(Boolean).join(" · ")]]
      : aboutBar(mark, row, where, when);
    this.details.replaceChildren(...lines.map(([text, more], n) => element(
      "p", {}, n ? text : element("strong", {}, text), more ?? null)));
  }

  press(event) {
    const moves = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (moves[event.key]) this.move(...moves[event.key]);
    else if (event.key === "+") this.magnify(2);
    else if (event.key === "-") this.magnify(0.5);
    else if (event.key === "0") this.magnify(0);
    else if (event.key === "Enter") this.find();
    else return;
    event.preventDefault();
  }

  move(down, right) {
    const full = this.rows.filter((row) => row.marks.length);
    if (!full.length) return;
    let place = this.chosen ? full.findIndex((row) => row.y === this.chosen.row.y) : -1;
    if (place < 0) return this.show(full[0], full[0].marks[0]);
    const row = full[Math.min(full.length - 1, Math.max(0, place + down))];
    const at = firstAfter(row.marks, this.chosen.mark.start);
    let n = Math.min(row.marks.length - 1, at);
    if (right) n = Math.min(row.marks.length - 1, Math.max(0, row.marks.indexOf(this.chosen.mark) + right));
    return this.show(row, row.marks[n]);
  }

  show(row, mark) {
    this.choose({ row, mark });
    const x = this.x(mark.start);
    if (x < this.gutter || x > this.width - 20) this.scroller.scrollLeft += x - this.width / 2;
    const y = row.y - this.scroller.scrollTop;
    if (y < AXIS + 4) this.scroller.scrollTop += y - AXIS - GAP;
    if (y + row.height > this.view) this.scroller.scrollTop += y + row.height - this.view + GAP;
  }

  find() {
    const file = this.chosen?.mark.file;
    if (file !== undefined && file !== null) showFile(file);
  }
}

function aboutBar(mark, row, where, when) {
  const { files } = data;
  const { file } = mark;
  const name = file !== null ? printable(files.source[file]) : "a file that is not in the table";
  const parts = [isLast(mark) ? STATES[files.state[file]] : BAR_STATES[mark.state],
    isLast(mark) && files.copied[file] ? "copied" : "", where, `slot ${row.slot + 1}`, when,
    mark.attempt > 1 ? `attempt ${mark.attempt}` : ""].filter(Boolean);
  const reasons = isLast(mark) ? [files.reason[file], ...files.warnings[file]].filter(Boolean) : [];
  return [[name], [parts.join(" · ")], ...reasons.map((text) => [printable(text)])];
}

// Stages run in parallel: each takes the first free row, and completion the last one.
function stageRows() {
  const rows = [];
  const stages = data.stages.map(([name, start, end]) => ({ name, text: name, start, end, fill: "stage" }));
  const isLong = (mark) => mark.name === "completion";
  for (const mark of stages.sort((a, b) => isLong(a) - isLong(b) || a.start - b.start)) {
    const free = rows.find((row) => row[row.length - 1].end <= mark.start);
    if (free) free.push(mark);
    else rows.push([mark]);
  }
  return rows;
}

function barsBySlot() {
  const slots = data.nodes.map((node) => Array.from({ length: node.slots }, () => []));
  data.bars.forEach(([node, slot, start, end, state, file, attempt], bar) => {
    slots[node][slot].push(
      { start, end, state, file, attempt, bar, fill: barFill({ state, file, attempt }) });
  });
  return slots;
}

function pathMarks() {
  return data.path.map(([kind, what, start, end]) => {
    if (kind === "stage") return { kind, name: what, start, end };
    if (kind !== "file") return { kind, place: what, start, end };
    const [place, slot, , , state, file, attempt] = data.bars[what];
    return { kind, place, slot, file, start, end, fill: barFill({ state, file, attempt }) };
  });
}

// Returns the index of the first mark that ends at or after a moment. Marks are sorted by time.
function firstAfter(marks, moment) {
  let [low, high] = [0, marks.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (marks[middle].end < moment) low = middle + 1;
    else high = middle;
  }
  return low;
}

function tickStep(span, ticks) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400,
    43200, 86400];
  return steps.find((step) => span / step <= Math.max(2, ticks)) ?? 172800;
}

// Each kind of bar has a colour. Kinds that mean a problem have a pattern too.
const FILLS = {
  stage: null, boot: null, "start-task": null, converted: null, copied: null, warned: "hatch", failed: "hatch",
  interrupted: "dots", idle: null, evicted: "cross", unusable: "hatch",
};
const LEGEND = [
  ["boot", "boot"], ["start-task", "start task"], ["idle", "idle"], ["converted", "converted"],
  ["copied", "copied"], ["warned", "with a warning"], ["failed", "failed"], ["interrupted", "interrupted"], ["evicted", "evicted"],
  ["unusable", "unusable"],
];

function fill(pen, activity, colours, [x, y, width, height]) {
  const name = activity.replace("_", "-");
  pen.fillStyle = colours[name];
  pen.fillRect(x, y, width, height);
  if (!FILLS[name] || width < 5) return;
  pen.save();
  pen.beginPath();
  pen.rect(x, y, width, height);
  pen.clip();
  pen.strokeStyle = colours.page;
  pen.globalAlpha = 0.55;
  pen.lineWidth = 1.2;
  pen.beginPath();
  const [from, to] = [Math.max(x, -20), Math.min(x + width, 8000)];
  for (let at = from - height - ((from - height) % 6); at < to; at += FILLS[name] === "dots" ? 4 : 6) {
    if (FILLS[name] === "dots") {
      pen.moveTo(at, y + height / 2);
      pen.lineTo(at + 1.5, y + height / 2);
      continue;
    }
    pen.moveTo(at, y + height);
    pen.lineTo(at + height, y);
    if (FILLS[name] === "cross") {
      pen.moveTo(at, y);
      pen.lineTo(at + height, y + height);
    }
  }
  pen.stroke();
  pen.restore();
}

function showLegend() {
  const fills = data.bars.map(([, , , , state, file, attempt]) => barFill({ state, file, attempt }));
  const present = new Set(["idle", "converted", ...fills,
    ...data.nodes.flatMap((node) => node.periods.map(([activity]) => activity.replace("_", "-")))]);
  const colours = () => Object.fromEntries(
    [...Object.keys(FILLS), "page"].map((name) => [name, colour(name)]));
  const shown = LEGEND.filter(([name]) => present.has(name));
  const paint = () => byId("legend").replaceChildren(...shown.map(([name, text]) => {
    const swatch = element("canvas", { width: 44, height: 24, "aria-hidden": "true" });
    fill(swatch.getContext("2d"), name, colours(), [0, 0, 44, 24]);
    return element("li", {}, swatch, text);
  }), ...(data.path.length ? [element("li", {}, element("span", { class: "line" }), "critical path")] : []));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  paint();
}

// ---- critical path ----

const PROBLEMS = ["failed", "interrupted"];

// Successive files in one slot become one entry, except files with a problem.
function pathEntries() {
  const entries = [];
  let before = 0;
  for (const step of pathMarks()) {
    if (step.start - before > 0.05) entries.push({ name: "waiting", start: before, end: step.start, fill: "waiting" });
    const last = entries[entries.length - 1];
    before = step.end;
    const isFile = last?.kind === "file" && step.kind === "file";
    const isSound = isFile && ![last.fill, step.fill].some((fill) => PROBLEMS.includes(fill));
    if (isSound && last.place === step.place && last.slot === step.slot) {
      last.files.push(step);
      last.end = step.end;
    } else {
      entries.push({ ...step, files: step.kind === "file" ? [step] : [] });
    }
  }
  return entries;
}

function entryName(entry) {
  if (entry.kind === "stage") {
    return entry.name === "completion" ? "completion: detecting the end" : entry.name;
  }
  if (entry.kind === "boot") return `boot of ${nodeName(entry.place)}`;
  if (entry.kind === "evicted") return `${nodeName(entry.place)} was evicted`;
  if (entry.kind === "start_task") return `start task on ${nodeName(entry.place)}`;
  if (entry.kind !== "file") return entry.name;
  const where = `on ${nodeName(entry.place)}, slot ${entry.slot + 1}`;
  const { file } = entry.files[0];
  if (entry.files.length > 1) return `${count(entry.files.length, "file")} in sequence ${where}`;
  const problem = PROBLEMS.includes(entry.fill) ? `: ${entry.fill}` : "";
  return `${file === null ? "a file" : printable(data.files.source[file])} ${where}${problem}`;
}

function showPath() {
  const entries = pathEntries();
  byId("path-section").hidden = !entries.length;
  const longest = Math.max(...entries.map((entry) => entry.end - entry.start), 0.001);
  byId("path").replaceChildren(...entries.map((entry) => {
    const seconds = entry.end - entry.start;
    const fill = entry.files?.length > 1 ? "converted" : entry.fill ?? entry.kind;
    const share = element("span", { class: `share ${fill}`, "aria-hidden": "true" });
    share.style.width = `${(seconds / longest) * 100}%`;
    return element("li", { class: entry.fill === "waiting" ? "waiting" : null },
      element("span", { class: "name" }, entryName(entry)),
      element("span", { class: "time" }, duration(seconds)), share);
  }));
}

// ---- tables ----

const PAGE = 100;

// A table of row indexes that can be sorted, filtered and shown in pages.
class Table {
  constructor(table, pager, { caption, columns, rows }) {
    Object.assign(this, { table, pager, columns, all: rows, page: 0, down: false, by: null });
    this.shown = rows;
    this.body = element("tbody");
    this.heads = columns.map((column) => this.head(column));
    table.replaceChildren(element("caption", { class: "unseen" }, caption),
      element("thead", {}, element("tr", {}, ...this.heads)), this.body);
    this.back = element("button", { type: "button" }, "Previous");
    this.next = element("button", { type: "button" }, "Next");
    this.where = element("span", { role: "status" });
    this.back.addEventListener("click", () => this.turn(this.page - 1));
    this.next.addEventListener("click", () => this.turn(this.page + 1));
    pager.replaceChildren(this.back, this.next, this.where);
    this.turn(0);
  }

  head(column) {
    const button = element("button", { type: "button", class: column.class ?? null }, column.name);
    button.addEventListener("click", () => this.sort(column));
    return element("th", { scope: "col", class: column.class ?? null }, button);
  }

  sort(column) {
    this.down = this.by === column && !this.down;
    this.by = column;
    this.heads.forEach((head, n) => {
      if (this.columns[n] === column) head.setAttribute("aria-sort", this.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    this.filter(this.keep);
  }

  filter(keep) {
    this.keep = keep;
    this.shown = keep ? this.all.filter(keep) : this.all;
    if (this.by) this.shown = sorted(this.shown, this.by.key, this.down);
    this.turn(0);
  }

  turn(page) {
    this.page = page;
    const start = page * PAGE;
    const rows = this.shown.slice(start, start + PAGE);
    this.body.replaceChildren(...rows.map((place) => this.row(place)));
    const last = start + rows.length;
    const [total, all] = [this.shown.length.toLocaleString("en"), this.all.length];
    const of = this.shown.length < all ? `${total} found among ${all.toLocaleString("en")}` : total;
    this.where.textContent = rows.length ? `${(start + 1).toLocaleString("en")}–${last.toLocaleString("en")} of ${of}` : "Nothing found.";
    this.back.disabled = page === 0;
    this.next.disabled = last >= this.shown.length;
    this.back.hidden = this.next.hidden = all <= PAGE;
  }

  row(place) {
    return element("tr", { "data-place": place }, ...this.columns.map((column, n) => element(
      n ? "td" : "th",
      { class: [column.class, column.mark?.(place)].filter(Boolean).join(" ") || null, scope: n ? null : "row" },
      column.text(place))));
  }

  reveal(place) {
    const at = this.shown.indexOf(place);
    if (at < 0) return;
    this.turn(Math.floor(at / PAGE));
    const row = this.body.querySelector(`[data-place="${place}"]`);
    row.classList.add("found");
    row.scrollIntoView({ block: "center" });
  }
}

// Rows without a value come last in both directions.
function sorted(places, key, down) {
  const keys = new Map(places.map((place) => [place, key(place)]));
  const sign = down ? -1 : 1;
  const isNone = (value) => value === null || value === undefined || value === "";
  return [...places].sort((one, other) => {
    const [a, b] = [keys.get(one), keys.get(other)];
    if (isNone(a) || isNone(b)) return isNone(a) - isNone(b);
    return a < b ? -sign : a > b ? sign : 0;
  });
}

function showNodes() {
  byId("nodes-section").hidden = !data.nodes.length;
  const { nodes } = data;
  const bars = nodes.map(() => 0);
  data.bars.forEach((bar) => { bars[bar[0]] += 1; });
  const used = Object.keys(ACTIVITIES).filter((activity) => nodes.some((node) => node.seconds[activity]));
  const numbers = (name, value, text) => ({ name, key: value, text, class: "number" });
  const columns = [
    { name: "Node", class: "name", key: (n) => n, text: nodeName },
    { name: "Id", key: (n) => nodes[n].id, text: (n) => nodes[n].id, class: "text narrow-hidden" },
    numbers("Conversions", (n) => bars[n], (n) => bars[n].toLocaleString("en")),
    numbers("Start", (n) => nodes[n].start, (n) => clock(nodes[n].start)),
    numbers("End", (n) => nodes[n].end, (n) => clock(nodes[n].end) + (nodes[n].lost ? " (lost)" : "")),
    ...used.map((activity) => numbers(ACTIVITIES[activity],
      (n) => nodes[n].seconds[activity] ?? 0, (n) => duration(nodes[n].seconds[activity] ?? 0))),
  ];
  new Table(byId("nodes"), byId("nodes-pager"),
    { caption: "Nodes and how they spent their time", columns, rows: nodes.map((_, n) => n) });
}

let fileTable = null;

const remarksOn = (n) => [data.files.note[n], data.files.track[n], data.files.copied[n] ? "copied" : "", ...data.files.warnings[n].map((text) => `warning: ${text}`)].filter(Boolean);
const outputOrReason = (n) => (["converted", "skipped"].includes(data.files.state[n])
  ? [data.files.output[n], ...remarksOn(n).map((text) => `(${text})`)].join(" ") : data.files.reason[n]) ?? "";

function showFiles() {
  const { files } = data;
  const order = ["failed", "interrupted", "not_started", "converted", "skipped"];
  const hasPresets = data.run.presets.length > 1;
  const number = (name, column, text, more = "") => ({
    name, class: `number ${more}`.trim(), key: (n) => files[column][n],
    text: (n) => (files[column][n] === null ? "" : text(files[column][n])),
  });
  const columns = [
    { name: "File", class: "text file", key: (n) => files.source[n], text: (n) => printable(files.source[n]) },
    hasPresets ? { name: "Preset", key: (n) => files.preset[n], text: (n) => files.preset[n] } : null,
    { name: "State", mark: (n) => `state ${fileFill(n)}`,
      key: (n) => order.indexOf(files.state[n]), text: (n) => STATES[files.state[n]] },
    number("Duration", "seconds", duration),
    number("Media", "source_seconds", duration, "narrow-hidden"),
    number("Size", "output_bytes", size, "narrow-hidden"),
    number("Tries", "attempts", String, "narrow-hidden"),
    { name: "Node", class: "name narrow-hidden", key: (n) => files.node[n], text: (n) => nodeName(files.node[n]) },
    { name: "Output or reason", class: "text reason", key: outputOrReason, text: (n) => printable(outputOrReason(n)) },
  ].filter(Boolean);
  const rows = files.source.map((_, n) => n);
  fileTable = new Table(byId("files"), byId("files-pager"), { caption: "All files", columns, rows });
  listenToSearch();
}

function listenToSearch() {
  const { files } = data;
  const present = Object.keys(STATES).filter((state) => data.summary[state]);
  const remarks = Object.keys(REMARKS).filter((remark) => files.state.some((_, n) => REMARKS[remark](n)));
  byId("state").replaceChildren(element("option", { value: "" }, "all"),
    ...present.map((state) => element("option", { value: state }, STATES[state])),
    ...remarks.map((remark) => element("option", { value: remark }, remark)));
  let texts = null;
  const search = () => {
    texts ??= files.source.map((source, n) => [source, files.output[n], outputOrReason(n),
      nodeName(files.node[n]), files.preset[n]].join("\n").toLowerCase());
    const [state, words] = [byId("state").value, byId("words").value.trim().toLowerCase()];
    const hasState = REMARKS[state] ?? ((n) => files.state[n] === state);
    const keep = (n) => (!state || hasState(n)) && texts[n].includes(words);
    fileTable.filter(state || words ? keep : null);
  };
  let timer = 0;
  byId("words").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(search, 80); });
  byId("state").addEventListener("change", search);
  byId("search").addEventListener("submit", (event) => event.preventDefault());
}

function showFile(place) {
  byId("words").value = byId("state").value = "";
  fileTable.filter(null);
  fileTable.reveal(place);
}

// ---- notes ----

function showNotes() {
  const { run } = data;
  const sharing = run.owns_pool ? "" : " (shared; this page shows only nodes that converted files of this run, and only during the run)";
  const notes = [
    "Times of nodes and files come from Batch, times of stages from the machine that ran the flow. The two clocks may differ slightly. The time of a file includes its download and upload on the node.",
    "Batch does not report slots: they are inferred from files that overlap. If a node tried a file several times in a row, only the last try is known, and the earlier tries show as idle.",
    "Node time counts from the allocation of a node until the run requests its deletion, without evictions. The run lists the nodes at intervals, so an eviction between two listings shows as another boot.",
    ...(run.pool ? [`Pool ${run.pool}${sharing}.`] : []),
    ...(run.job ? [`Job ${run.job}.`] : []),
  ];
  byId("notes").replaceChildren(...notes.map((note) => element("p", {}, note)));
}

showHead();
showLegend();
showPath();
showNodes();
showFiles();
showNotes();
new Timeline(byId("scroller"), byId("sizer"), byId("canvas"), byId("details"));
document.documentElement.dataset.ready = "true";
