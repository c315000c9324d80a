// 一个网络的滑块和形状表：拖一下，马上看到形状和代价；与书上不同的格子标出来，走不通的那一层是红色的一行。

import { button, make } from "dom.js";
import { compare, read, tickOf, told, total, valueAt } from "tables.js";

const COLUMNS = ["层", "种类", "输出形状", "参数", "乘加", "感受野"];
const PATIENCE = 400; // 毫秒：拖着的时候不写地址，浏览器不让写得太勤

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
  input.addEventListener("change", () => settled());
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

const { format } = new Intl.NumberFormat("en-US"); // 造一个要好久，只造一次

const cells = (row) => [row.name, row.kind, row.out_shape.join("×"), format(row.params), format(row.macs), row.field];
const sums = (rows) => ["合计", "", "", format(total(rows, "params")), format(total(rows, "macs")), ""];

// 一行的文字写进格子，与 was 不同的标出来；没有变的不碰，浏览器就不用重排
function write(line, texts, was) {
  texts.forEach((text, i) => {
    const cell = line.children[i], name = text === was[i] ? "" : "differs";
    if (cell.textContent !== text) cell.textContent = text;
    if (cell.className !== name) cell.className = name;
  });
}

const row = (texts, head = {}) => make("tr", {}, ...texts.map((text) => (text && head.scope
  ? make("th", { data: head }, text) : make("td", {}, text))));

// 形状表：{node, show(一个位置)}；层数不同时，按从前往后的次序与书上的对照，合计对合计
function sheet(book) {
  const last = sums(book.rows), base = [...book.rows.map(cells), last];
  const body = make("tbody"), sum = row(last, { scope: "row" }), foot = make("tfoot");
  const node = make("table", {}, make("thead", {}, row(COLUMNS, { scope: "col" })), body, foot);
  function show({ rows, broken }) {
    while (body.children.length > rows.length) body.lastChild.remove();
    while (body.children.length < rows.length) body.append(row(COLUMNS.map(() => "")));
    rows.forEach((each, i) => write(body.children[i], cells(each), base[Math.min(i, base.length - 1)]));
    if (!broken) write(sum, sums(rows), last);
    foot.replaceChildren(...(broken ? stop(broken.place) : [sum]));
  }
  return { node, show };
}

// 停下的一层，红色的一行；说不出是哪一层，就没有
function stop(place) {
  if (!place) return [];
  const [name, kind, symptom] = place;
  return [make("tr", { className: "stop" }, make("td", {}, name), make("td", {}, kind), make("td", { colSpan: 4 }, symptom))];
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
  const table = sheet(read(book));
  const box = make("div", { className: "box", tabIndex: 0, data: { role: "region", "aria-label": "形状表" } });
  const controls = Object.fromEntries(data.sliders.map((slider) => [slider.name,
    control(slider, cell, (tick) => go({ ...ticks, [slider.name]: tick }), () => save(0))]));
  const reset = button("回到书上的网络", () => { go(data.start); save(0); });

  function go(next) {
    ticks = next;
    for (const [name, { show }] of Object.entries(controls)) show(ticks[name]);
    const text = told(data, ticks), found = read(text), empty = !found.rows.length && !found.broken.place;
    sentence.classList.toggle("broken", Boolean(found.broken));
    sentence.textContent = found.broken ? `✗ ${found.broken.sentence}` : compare(text, book);
    table.show(found);
    if (empty) table.node.remove(); // 建不起来的，没有表
    else if (!table.node.parentNode) box.append(table.node);
    save(PATIENCE);
  }
  function save(wait) {
    clearTimeout(timer);
    if (wait) timer = setTimeout(save, wait, 0); else toHash(data, ticks, page.hash);
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
