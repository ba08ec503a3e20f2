"use strict";

// All text from the service, which clients sent, becomes text nodes: nothing is read as markup.

const POLL_MS = 1000;
const RETRY_MS = 2000;
const LOST_LATELY_SECONDS = 20;
const MOST_LOSSES = 5;
const MEDIUM_MAP = 60;
const SMALL_MAP = 240;
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const NODE_STATES = {
  running: "running",
  idle: "idle",
  creating: "creating",
  starting: "starting",
  rebooting: "rebooting",
  waitingforstarttask: "running the start task",
  starttaskfailed: "start task failed",
  preempted: "evicted",
  unusable: "unusable",
  leavingpool: "leaving the pool",
};
const LEGEND = { ...NODE_STATES, "lost-lately": "lost a moment ago, and back" };
const GLYPHS = {
  creating: "…", starting: "…", rebooting: "…", waitingforstarttask: "…",
  starttaskfailed: "!", preempted: "×", unusable: "!",
};
const LOSSES = { preempted: "was evicted", unusable: "became unusable", starttaskfailed: "failed its start task" };
const byId = (id) => document.getElementById(id);
const secret = location.hash.slice(1);
let data;

// Text

function printable(text) {
  return String(text).replace(HIDDEN, (c) => `\\u${c.codePointAt(0).toString(16).padStart(4, "0")}`);
}

function duration(seconds) {
  if (seconds < 9.95) return `${Math.max(0, seconds).toFixed(1)} s`;
  return span(seconds);
}

function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor(whole / 60) % 60} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor(whole / 3600) % 24} h`;
}

const ago = (time) => `${span(data.time - time)} ago`;
const count = (number) => number.toLocaleString("en");
const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
const shortNode = (id) => printable(id).replace(/^(tvmps_)0+(?=.)/, "$1");

// Elements

function build(tag, className = "", ...children) {
  const it = document.createElement(tag);
  it.className = className;
  it.append(...children);
  return it;
}

function setText(it, text) {
  if (it.textContent !== text) it.textContent = text;
}

function setClass(it, className) {
  if (it.className !== className) it.className = className;
}

/** Give `parent` one child for each item. Children with the same key stay, so that focus and selection stay. */
function sync(parent, items, { key, make, update }) {
  const old = new Map([...parent.children].map((it) => [it.key, it]));
  items.forEach((item, place) => {
    const name = key(item);
    const it = old.get(name) ?? Object.assign(make(item), { key: name });
    old.delete(name);
    update(it, item);
    if (parent.children[place] !== it) parent.insertBefore(it, parent.children[place] ?? null);
  });
  for (const it of old.values()) it.remove();
}

function syncRows(table, items, { key, cells }) {
  const body = table.querySelector("tbody");
  sync(body, items, {
    key,
    make: (item) => build("tr", "", ...cells(item).map(([className], place) => {
      const cell = build(place ? "td" : "th", className);
      if (!place) cell.scope = "row";
      return cell;
    })),
    update: (row, item) => cells(item).forEach(([, content, state], place) => {
      const cell = row.children[place];
      if (state !== undefined) cell.dataset.is = state;
      if (typeof content === "function") content(cell);
      else setText(cell, content);
    }),
  });
}

// Sections

function showFigures() {
  const { nodes, tasks } = data;
  const figures = [
    ["Nodes", count(nodes.total), ` of ${count(nodes.most)}`],
    ["Tasks waiting", count(tasks.active)],
    ["Tasks running", count(tasks.running)],
    ["Tasks succeeded", count(tasks.succeeded)],
    ["Tasks failed", count(tasks.failed)],
  ];
  sync(byId("figures"), figures, {
    key: ([name]) => name,
    make: ([name]) => build("div", "", build("dt", "", name), build("dd", "", build("span"), build("small"))),
    update: (it, [, value, detail = ""]) => {
      const [number, small] = it.lastChild.children;
      setText(number, value);
      setText(small, detail);
    },
  });
}

function showFaults() {
  byId("faults").hidden = !data.faults.length;
  const items = data.faults.map((fault, place) => ({ ...fault, place }));
  sync(byId("faults").querySelector("ul"), items, {
    key: ({ place, order }) => `${place} ${JSON.stringify(order)}`,
    make: ({ order }) => build("li", "", build("code", "", order.kind), build("span", "text"), build("span", "muted")),
    update: (it, { order, left }) => {
      const fields = Object.entries(order).filter(([name]) => !["kind", "times"].includes(name));
      setText(it.children[1], fields.map(([name, value]) => ` ${name}: ${printable(value)}`).join(","));
      setText(it.children[2], left === null ? "" : ` (${count(left)} of ${count(order.times)} left)`);
    },
  });
}

function showPools() {
  byId("no-pools").hidden = data.pools.length > 0;
  sync(byId("pools"), data.pools, { key: (pool) => pool.id, make: buildPool, update: showPool });
}

function buildPool(pool) {
  const it = build(
    "article", "pool",
    build("div", "top", build("h3", "text", printable(pool.id)), build("span", "muted text"), build("span", "badge")),
    build("p", "facts"),
    build("div", "errors"),
    build("ul", "map"),
    build("ul", "legend"),
    build("p", "pointed"),
    build("ul", "losses"),
  );
  const map = it.querySelector(".map");
  map.tabIndex = 0;
  map.ariaLabel = `Nodes of ${printable(pool.id)}`;
  map.addEventListener("pointerover", (event) => point(it, event.target.closest("li")?.key));
  for (const name of ["pointerleave", "blur"]) map.addEventListener(name, () => point(it, undefined));
  map.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const place = it.pool.nodes.findIndex((node) => node.id === it.pointed) + (step ?? 0);
    if (step) point(it, it.pool.nodes[Math.max(0, place)]?.id ?? it.pointed);
  });
  return it;
}

function point(it, id) {
  it.pointed = id;
  showMap(it.querySelector(".map"), it.pool);
  showPointed(it);
}

function showPool(it, pool) {
  it.pool = pool;
  const part = (name) => it.querySelector(`.${name}`);
  setClass(it, pool.nodes.length > MEDIUM_MAP ? "pool large" : "pool");
  const [, name, badge] = part("top").children;
  setText(name, pool.name ? printable(pool.name) : "");
  setText(badge, pool.state === "active" ? pool.allocation : pool.state);
  setText(part("facts"), poolFacts(pool));
  sync(part("errors"), pool.errors, {
    key: (error) => error, make: () => build("p", "error"), update: (line, error) => setText(line, printable(error)),
  });
  showMap(part("map"), pool);
  showLegend(part("legend"), pool);
  showPointed(it);
  showLosses(part("losses"), pool);
}

function poolFacts(pool) {
  const kinds = [["Spot", pool.spot, false], ["dedicated", pool.dedicated, true]].map(([kind, target, isDedicated]) => {
    const there = pool.nodes.filter((node) => node.isDedicated === isDedicated).length;
    return there || target ? `${there} of ${target} ${kind}` : "";
  });
  const slots = pool.slots > 1 ? `${pool.slots} task slots per node` : "";
  const scaling = pool.isScaled ? "autoscale" : "";
  if (!kinds.some(Boolean)) kinds.push("no nodes");
  return [...kinds, printable(pool.size), slots, scaling].filter(Boolean).join(" · ");
}

function showMap(map, pool) {
  const nodes = pool.nodes.length;
  map.hidden = !nodes;
  map.dataset.size = nodes > SMALL_MAP ? "small" : nodes > MEDIUM_MAP ? "medium" : "large";
  const lost = lostLately(pool);
  sync(map, pool.nodes, {
    key: (node) => node.id,
    make: () => build("li"),
    update: (cell, node) => {
      const marks = [node.state, node.isDedicated ? "dedicated" : "spot"];
      if (!node.isSchedulable) marks.push("unschedulable");
      if (lost.has(node.id)) marks.push("lost-lately");
      if (map.parentElement.pointed === node.id) marks.push("pointed-at");
      setClass(cell, marks.join(" "));
      setText(cell, node.state === "running" ? String(node.tasks.length) : GLYPHS[node.state] ?? "");
      cell.style.setProperty("--filled", `${Math.round((100 * node.used) / node.slots)}%`);
      cell.setAttribute("aria-label", nodeText(node));
    },
  });
}

/** Return the ids of nodes that were lost a moment ago, and are in use again. */
function lostLately(pool) {
  const ids = pool.losses.filter((loss) => data.time - loss.at < LOST_LATELY_SECONDS).map((loss) => loss.node);
  return new Set(ids.filter((id) => pool.nodes.some((node) => node.id === id && !(node.state in LOSSES))));
}

function nodeText(node) {
  const tasks = node.tasks.length ? node.tasks.map(printable).join(", ") : "";
  const slots = node.slots > 1 && node.used ? `${node.used} of ${node.slots} slots` : "";
  const scheduling = node.isSchedulable ? "" : "scheduling is disabled";
  return [
    shortNode(node.id), node.isDedicated ? "dedicated" : "Spot",
    `${NODE_STATES[node.state] ?? printable(node.state)} for ${span(data.time - node.since)}`, slots, tasks, scheduling,
  ].filter(Boolean).join(" · ");
}

function showLegend(legend, pool) {
  const counts = new Map(Object.keys(NODE_STATES).map((state) => [state, 0]));
  for (const node of pool.nodes) counts.set(node.state, (counts.get(node.state) ?? 0) + 1);
  counts.set("lost-lately", lostLately(pool).size);
  sync(legend, [...counts].filter(([, number]) => number), {
    key: ([state]) => state,
    make: ([state]) => build("li", "", build("i", state), build("span")),
    update: (it, [state, number]) => setText(it.lastChild, `${count(number)} ${LEGEND[state] ?? printable(state)}`),
  });
}

function showPointed(it) {
  const node = it.pool.nodes.find((each) => each.id === it.pointed);
  const line = it.querySelector(".pointed");
  line.hidden = !it.pool.nodes.length;
  setText(line, node ? nodeText(node) : "● Spot ■ dedicated. Point at a node, or press the arrow keys, for its tasks.");
}

function showLosses(list, pool) {
  list.hidden = !pool.losses.length;
  sync(list, pool.losses.slice(0, MOST_LOSSES), {
    key: (loss) => `${loss.node} ${loss.at}`,
    make: (loss) => build("li", `${loss.state}-loss`, build("span", "loss"), build("time")),
    update: (it, loss) => {
      const queued = loss.tasks ? `; ${counted(loss.tasks, "task")} queued again` : "";
      setText(it.firstChild, `${shortNode(loss.node)} ${LOSSES[loss.state]}${queued}`);
      setText(it.lastChild, ago(loss.at));
    },
  });
}

function showJobs() {
  byId("no-jobs").hidden = data.jobs.length > 0;
  byId("jobs").hidden = !data.jobs.length;
  byId("other-jobs").hidden = !data.otherJobs;
  setText(byId("other-jobs"), `and ${counted(data.otherJobs, "older job")}`);
  syncRows(byId("jobs"), data.jobs, {
    key: (job) => `${job.id} ${job.created}`,
    cells: (job) => [
      ["text", named(job)],
      ["narrow-hidden", job.reason ? `${job.state} (${printable(job.reason)})` : job.state],
      ["", (cell) => showProgress(cell, job.counts)],
      ...["active", "running", "succeeded", "failed"].map((name) => ["number", count(job.counts[name])]),
      ["text narrow-hidden", printable(job.pool)],
      ["number narrow-hidden", span(data.time - job.created)],
    ],
  });
}

function named({ id, name }) {
  return (cell) => {
    if (!cell.firstChild) cell.append(build("span"), " ", build("small"));
    setText(cell.firstChild, printable(id));
    setText(cell.lastChild, name ? printable(name) : "");
  };
}

function showProgress(cell, counts) {
  const parts = [["succeeded", counts.succeeded], ["failed", counts.failed], ["active-now", counts.running], ["waiting", counts.active]];
  if (!cell.firstChild) cell.append(build("div", "progress", ...parts.map(([name]) => build("span", name))));
  const bar = cell.firstChild;
  bar.role = "img";
  bar.ariaLabel = `${count(counts.completed)} of ${counted(counts.completed + counts.running + counts.active, "task")} completed`;
  parts.forEach(([, number], place) => bar.children[place].style.setProperty("flex-grow", number));
}

function showTasks() {
  byId("recent-tasks").hidden = !data.recentTasks.length;
  syncRows(byId("recent-tasks"), data.recentTasks, {
    key: (task) => `${task.job}/${task.id}`,
    cells: (task) => {
      const state = { active: "waiting", running: "running" }[task.state] ?? (task.result === "failure" ? "failed" : "succeeded");
      return [
        ["text", `${printable(task.job)} / ${printable(task.id)}`],
        ["state", state, state],
        ["narrow-hidden", task.node && task.state !== "active" ? shortNode(task.node) : ""],
        ["number", task.state === "running" ? span(data.time - task.since) : task.seconds === null ? "" : duration(task.seconds)],
        ["number", ago(task.since)],
      ];
    },
  });
}

function showFailures() {
  byId("failed-tasks").hidden = !data.failedTasks.length;
  syncRows(byId("failed-tasks"), data.failedTasks, {
    key: (task) => `${task.job}/${task.id}`,
    cells: (task) => [
      ["text", `${printable(task.job)} / ${printable(task.id)}`],
      ["text reason", [task.exitCode === null ? "" : `exit code ${task.exitCode}`, printable(task.failure ?? "")].filter(Boolean).join(" · ")],
      ["narrow-hidden", task.node ? shortNode(task.node) : ""],
      ["number", ago(task.since)],
    ],
  });
}

function showRefusals() {
  byId("refusals").hidden = !data.refusals.length;
  syncRows(byId("refusals"), data.refusals, {
    key: (it) => [it.operation, it.status, it.code, it.reason].join("\n"),
    cells: (it) => [
      ["status", String(it.status), it.status],
      ["text", printable(it.operation)],
      ["text reason", [it.code, it.reason].filter(Boolean).map(printable).join(": ")],
      ["number", count(it.count)],
      ["number narrow-hidden", ago(it.last)],
    ],
  });
}

// The loop

function show() {
  setText(byId("account"), `account ${printable(data.account)} · local-azure ${printable(data.version)}`);
  for (const section of [showFigures, showFaults, showPools, showJobs, showFailures, showRefusals, showTasks]) section();
  document.querySelector("main").hidden = false;
  document.documentElement.dataset.ready = "";
}

function report(state, text) {
  byId("status").dataset.is = state;
  setText(byId("status"), text);
  document.querySelector("main").classList.toggle("stale", state !== "live");
}

async function load() {
  const headers = { Authorization: `Bearer ${secret}` };
  const answer = await fetch("overview", { headers, cache: "no-store", signal: AbortSignal.timeout(10_000) });
  if (answer.status === 403) return null;
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.json();
}

async function refresh() {
  try {
    data = await load();
  } catch (error) {
    setTimeout(whenVisible, RETRY_MS);
    return report("lost", `local-azure does not answer. Trying again … (${error.message})`);
  }
  if (!data) return report("lost", "Open the link that local-azure prints at start: LOCAL_AZURE_PAGE");
  show();
  report("live", "Live");
  setTimeout(whenVisible, POLL_MS);
}

function whenVisible() {
  if (!document.hidden) return refresh();
  document.addEventListener("visibilitychange", whenVisible, { once: true });
}

addEventListener("hashchange", () => location.reload());
refresh();
