// 一个网络的滑块和形状表：拖一下，马上看到形状和代价；与书上不同的格子标出来，走不通的那一层是红色的一行。

import { compare, read, tickOf, told, total, valueAt } from "tables.js";

const COLUMNS = ["层", "种类", "输出形状", "参数", "乘加", "感受野"];
const PATIENCE = 400; // 毫秒：拖着的时候不写地址，浏览器不让写得太勤

function make(tag, props = {}, ...children) {
  const { data, ...rest } = props, node = Object.assign(document.createElement(tag), rest);
  for (const [name, value] of Object.entries(data ?? {})) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const written = (value) => (typeof value === "boolean" ? (value ? "开" : "关") : String(value));

// ---------- 一个滑块 ----------

// 给出 {row, show(tick)}；读者动了就 moved(tick)，放手了就 settled()
function control(slider, cell, moved, settled) {
  const id = `${cell}-${slider.name}`;
  const kinds = { range: ranged, choice: chosen, switch: switched };
  const kind = !slider.options ? "range" : typeof slider.options[0] === "boolean" ? "switch" : "choice";
  const { input, tick, show } = kinds[kind](slider);
  const output = make("output", { htmlFor: id });
  Object.assign(input, { id, name: slider.name });
  input.addEventListener("input", () => moved(tick()));
  input.addEventListener("change", () => { moved(tick()); settled(); });
  const row = make("div", { className: "slider" }, make("label", { htmlFor: id }, slider.label), input, output);
  return { row, show(now) { show(now); output.textContent = kind === "choice" ? "" : written(valueAt(slider, now)); } };
}

function ranged(slider) {
  const { low, high, step } = slider;
  const input = make("input", { type: "range" });
  Object.assign(input, { min: low, max: high, step }); // 次序要紧：先有范围，才放得下值
  return { input, tick: () => Math.round((Number(input.value) - low) / step),
    show: (tick) => { input.value = valueAt(slider, tick); } };
}

function chosen(slider) {
  const options = slider.options.map((option, i) => make("option", { value: i }, String(option)));
  const input = make("select", {}, ...options);
  return { input, tick: () => Number(input.value), show: (tick) => { input.value = tick; } };
}

function switched(slider) {
  const input = make("input", { type: "checkbox" });
  return { input, tick: () => tickOf(slider, input.checked), show: (tick) => { input.checked = valueAt(slider, tick); } };
}

// ---------- 形状表 ----------

const count = (number) => number.toLocaleString("en-US");

// 表格的文字：表头，每层一行，合计
const cells = (rows) => [
  COLUMNS,
  ...rows.map((row) => [row.name, row.kind, row.out_shape.join("×"), count(row.params), count(row.macs), row.field]),
  ["合计", "", "", count(total(rows, "params")), count(total(rows, "macs")), ""],
];

// 层数不同时，按从前往后的次序对照；合计对合计
const beside = (rows, book) =>
  rows.map((_, i) => (i === rows.length - 1 ? book.at(-1) : book[Math.min(i, book.length - 1)]));

function line(row, was, head) {
  const nodes = row.map((text, i) => make(head && text ? "th" : "td", { textContent: text,
    className: text === was[i] ? "" : "differs", data: head && text ? { scope: head } : {} }));
  return make("tr", {}, ...nodes);
}

function table(found, book) {
  const rows = cells(found.rows), base = beside(rows, cells(book.rows));
  const lines = rows.map((row, i) => line(row, base[i], i === 0 ? "col" : null));
  lines.pop();
  if (!found.broken) lines.push(line(rows.at(-1), base.at(-1), "row"));
  else if (found.broken.place) lines.push(stop(found.broken.place));
  return make("table", {}, make("thead", {}, lines[0]), make("tbody", {}, ...lines.slice(1)));
}

// 停下的一层
function stop([name, kind, symptom]) {
  return make("tr", { className: "stop" }, make("td", {}, name), make("td", {}, kind), make("td", { colSpan: 4 }, symptom));
}

// ---------- 地址 ----------

// 地址里说的位置，和看不懂的几项；没有说到的，是书上的
function fromHash(data, hash) {
  const ticks = { ...data.start }, wrong = [];
  for (const name of data.idle) hash.get(name); // 不是这一页的滑块，也不算写错
  for (const slider of data.sliders) {
    const text = hash.get(slider.name);
    if (text == null) continue;
    const value = slider.options ? slider.options.find((each) => String(each) === text)
      : /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : null; // Number 还认得 0x10、1e2 和空的
    const tick = tickOf(slider, value);
    if (tick == null) wrong.push(`${slider.name}=${text}`); else ticks[slider.name] = tick;
  }
  return { ticks, wrong };
}

function toHash(data, ticks, hash) {
  for (const slider of data.sliders) {
    const tick = ticks[slider.name];
    const text = tick === data.start[slider.name] ? null : String(valueAt(slider, tick));
    if (hash.get(slider.name) !== text) hash.set(slider.name, text);
  }
}

// ---------- window.companion ----------

function describe({ options, low, high, step }) {
  return options ? { options } : { low, high, step };
}

// 从书上的网络数起的一个位置：各层，或者走不通的那句话
function rows(data, values) {
  const ticks = { ...data.start };
  for (const [name, value] of Object.entries(values)) {
    if (data.idle.includes(name)) continue;
    const slider = data.sliders.find((each) => each.name === name);
    const tick = slider && tickOf(slider, value);
    if (tick == null) throw new RangeError(`没有 ${name}=${value} 这个位置。`);
    ticks[name] = tick;
  }
  const found = read(told(data, ticks));
  return found.broken ? found.broken.sentence
    : found.rows.map(({ name, kind, out_shape, params, macs }) => ({ name, kind, out_shape, params, macs }));
}

// ---------- 放在一起 ----------

const note = (data) =>
  `${data.idle.map((name) => (name === "lr" ? "学习率 lr" : name)).join("、")} 不改变这张表；训练要打开笔记本。`;

export function mount(root, data, page) {
  const book = told(data, data.start), cell = root.dataset.cell;
  let ticks = data.start, timer = 0, complained = false;
  const sentence = make("p", { className: "sentence", data: { role: "status" } });
  const box = make("div", { className: "box", tabIndex: 0, data: { role: "region", "aria-label": "形状表" } });
  const controls = Object.fromEntries(data.sliders.map((slider) => [slider.name,
    control(slider, cell, (tick) => go({ ...ticks, [slider.name]: tick }), () => save(0))]));
  const reset = make("button", { type: "button" }, "回到书上的网络");
  reset.addEventListener("click", () => { go(data.start); save(0); });

  function go(next) {
    ticks = next;
    for (const [name, { show }] of Object.entries(controls)) show(ticks[name]);
    const text = told(data, ticks), found = read(text);
    sentence.classList.toggle("broken", Boolean(found.broken));
    sentence.textContent = found.broken ? `✗ ${found.broken.sentence}` : compare(text, book);
    const named = found.rows.length || found.broken?.place;
    box.replaceChildren(...(named ? [table(found, read(book))] : []));
    save(PATIENCE);
  }
  function save(wait) {
    clearTimeout(timer);
    timer = setTimeout(() => toHash(data, ticks, page.hash), wait);
    if (wait === 0) { clearTimeout(timer); toHash(data, ticks, page.hash); }
  }
  function follow() {
    const { ticks: found, wrong } = fromHash(data, page.hash);
    if (wrong.length) page.hash.broken(`链接里的 ${wrong.join("、")} 不是滑块上的位置，停在书上的网络。`);
    else if (complained) page.hash.broken("");
    complained = wrong.length > 0;
    go(complained ? data.start : found);
    if (complained) clearTimeout(timer); // 写错的留在地址里，读者看得到
  }
  follow();
  window.addEventListener("hashchange", () => { if (location.hash.includes("=")) follow(); });
  const panel = make("div", { className: "sliders" }, ...data.sliders.map(({ name }) => controls[name].row), reset,
    make("p", { className: "faint" }, note(data)));
  root.replaceChildren(make("div", { className: "explorer" }, panel, make("div", { className: "result" }, sentence, box)));
  window.companion = { sliders: Object.fromEntries(data.sliders.map((each) => [each.name, describe(each)])),
    rows: (values) => rows(data, values) };
}
