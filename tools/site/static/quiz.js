// 练习和先猜。每一种答案说哪一句都是 Python 的检查说出来的，这里只认出是哪一种，再填上数。

import { button, make, prose } from "dom.js";

// ---------- 读者写的 ----------

// 全角的数字和标点变成半角；减号有好几个
const plain = (text) => text.normalize("NFKC").replace(/[−–—]/g, "-").trim();

const thousands = (text) => text.replace(/\B(?=(\d{3})+$)/g, ",");

// 一个数；看不懂是 null。三位一节的逗号、空格，末尾的单位不算
export function readNumber(text) {
  const joined = plain(text).replace(/\s*[个倍次层]$/, "")
    .replace(/^([+-]?\d{1,3})((?:[, _]\d{3})+)(?![\d,_])/, (_, head, rest) => head + rest.replace(/[, _]/g, ""));
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(joined)) return null;
  const value = Number(joined);
  return Math.abs(value) < 3.4e38 ? value : null; // Python 也只认 float32 写得下的
}

// 一串整数，写成 (6, 14, 14)、6×14×14、6 14 14 都行；看不懂是 null
export function readShape(text) {
  const inside = plain(text).replace(/^[([]\s*(.*?),?\s*[)\]]$/, "$1");
  const parts = inside.split(/\s*[,、×xX*]\s*|\s+/);
  return parts.every((part) => /^-?\d{1,9}$/.test(part)) ? parts.map(Number) : null;
}

// ---------- 数写成文字，与 Python 的格式一样 ----------

// digits 位有效数字：[一串数字, 10 的几次方]。正好在中间时取偶数，toExponential 取大的
function rounded(value, digits) {
  let [number, power] = value.toExponential(digits - 1).split("e");
  const [exact, exactPower] = value.toExponential(100).split("e");
  const kept = exact.replace(".", "").slice(0, digits), rest = exact.replace(".", "").slice(digits);
  if (/^50*$/.test(rest) && Number(kept.at(-1)) % 2 === 0) [number, power] = [kept, exactPower];
  return [number.replace(".", ""), Number(power)];
}

// Python 的 .{digits}g
export function general(value, digits) {
  if (value === 0) return "0";
  const [found, power] = rounded(Math.abs(value), digits), sign = value < 0 ? "-" : "";
  const trim = (text) => (text.includes(".") ? text.replace(/\.?0*$/, "") : text);
  if (power < -4 || power >= digits) {
    const exponent = String(Math.abs(power)).padStart(2, "0");
    return `${sign}${trim(`${found[0]}.${found.slice(1)}`)}e${power < 0 ? "-" : "+"}${exponent}`;
  }
  if (power < 0) return sign + trim(`0.${"0".repeat(-power - 1)}${found}`);
  return sign + trim(`${found.slice(0, power + 1)}.${found.slice(power + 1)}`);
}

// 整数写全，别的 4 位有效数字；三位一节
export function written(value) {
  if (Number.isInteger(value)) return thousands(String(BigInt(value)));
  return general(value, 4).replace(/^-?\d+/, thousands);
}

// Python 的 .1%
export function percent(share) {
  const value = share * 100, exact = value.toFixed(60), dot = exact.indexOf(".");
  const tie = /^50*$/.test(exact.slice(dot + 2)) && Number(exact[dot + 1]) % 2 === 0;
  return (tie ? exact.slice(0, dot + 2) : value.toFixed(1)) + "%";
}

const fill = (text, values) => text.replace(/\{(\w+)\}/g, (slot, name) => values[name] ?? slot);

const tuple = (shape) => (shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`);

const same = (one, other) => one.length === other.length && one.every((value, i) => value === other[i]);

// ---------- 检查：{right, text}，看不懂的答案 right 是 null ----------

function judgeNumber(data, text) {
  const value = readNumber(text), { truth } = data;
  if (value === null) return nonsense(data, text);
  // Python 的 math.isclose
  const close = (other) => Math.abs(value - other) <= data.within * Math.max(Math.abs(value), Math.abs(other));
  if (close(truth)) return { right: true, text: data.right };
  const gap = Math.abs(value - truth), ratio = value / truth, near = ratio > 0.5 && ratio < 2;
  const said = fill(data.distance[`${value > truth ? "larger" : "smaller"} ${near ? "near" : "far"}`], {
    value: written(value), gap: written(gap), part: near ? percent(gap / Math.abs(truth)) : general(ratio, 3) });
  return { right: false, text: said + data.misled.filter(([other]) => close(other)).map(([, line]) => line).join("") };
}

function judgeShape(data, text) {
  const shape = readShape(text), { truth } = data;
  if (shape === null) return nonsense(data, text);
  if (same(shape, truth)) return { right: true, text: data.right };
  const known = data.misled.find(([other]) => same(shape, other));
  if (known) return { right: false, text: known[1] };
  if (shape.length !== truth.length) {
    return { right: false, text: fill(data.dims, { value: tuple(shape), count: shape.length }) };
  }
  let said = "";
  shape.forEach((value, i) => {
    if (value === truth[i]) return;
    const phrase = data.axes[value > truth[i] ? "larger" : "smaller"];
    said += fill(phrase[said ? 1 : 0], { axis: i + 1, value, gap: Math.abs(value - truth[i]) });
  });
  return { right: false, text: said + data.axes.larger[2] };
}

function judgeChoice(data, chosen) {
  const missed = data.letters.map((letter) => chosen.includes(letter) !== data.truth.includes(letter));
  const count = missed.filter(Boolean).length;
  if (!count) return { right: true, text: data.right };
  return { right: false, text: [fill(data.wrong, { count }), ...data.lines.filter((_, i) => missed[i])].join("\n") };
}

function judgeGuess(data, text) {
  const digits = plain(text).match(/\d+/g);
  const value = data.options.length ? text : digits?.map((each) => String(BigInt(each))).join("×");
  if (!value) return nonsense(data, text);
  const known = data.replies.find(([other]) => other === value);
  return { right: value === data.truth, value, text: known ? known[1] : fill(data.other, { value }) };
}

const nonsense = (data, text) => ({ right: null, text: fill(data.unreadable, { answer: text.trim().slice(0, 40) }) });

const JUDGES = { number: judgeNumber, shape: judgeShape, choice: judgeChoice, guess: judgeGuess };

export const judge = (data, text) => JUDGES[data.kind](data, text);

// ---------- 做对过什么，猜过什么：只在这个浏览器里；不让存就不记 ----------

function recall(key) {
  try {
    return JSON.parse(localStorage.getItem(`companion ${key}`));
  } catch {
    return null;
  }
}

function remember(key, value) {
  try {
    localStorage.setItem(`companion ${key}`, JSON.stringify(value));
  } catch { /* 无痕的窗口，或者满了：这一次照样能做 */ }
}

// ---------- 画 ----------

const KEPT = "做对过；只记在这个浏览器里，不离开这台机器";

export function mount(root, data, page) {
  const quiz = make("section", { className: "quiz", data: { "aria-label": `第 ${page.section} 节的练习` } });
  if (data.kind === "guess") {
    const shown = [...(root.querySelector("details")?.children ?? [])].filter((node) => node.tagName !== "SUMMARY");
    quiz.append(...guessing(data, shown));
  } else {
    quiz.append(...answering(data), ...helping(data));
  }
  root.replaceChildren(quiz);
}

// 填答案的地方，和检查之后的一句话
function answering(data) {
  if (data.kind === "notebook") {
    return [make("p", { className: "faint" }, `这一题（${data.label}）要运行你写的代码，在笔记本里检查；提示和答案这里也有。`)];
  }
  const { fields, value } = data.kind === "choice" ? letters(data) : entry(data.kind === "shape" ? "如 3×8×8" : "一个数");
  const solved = make("span", { className: "solved", title: KEPT, hidden: !recall(data.key) }, "✓ ",
                      make("small", { className: "faint" }, KEPT));
  const verdict = make("p", { className: "verdict", data: { role: "status" } });
  const check = (event) => {
    event.preventDefault();
    const found = value() === null ? { right: null, text: "先写一个答案。" } : judge(data, value());
    say(verdict, found);
    if (!found.right) return;
    remember(data.key, true);
    solved.hidden = false;
  };
  return [make("form", { className: "row", on: { submit: check } }, ...fields, make("button", {}, "检查"), solved),
          verdict];
}

// 一行字；什么也没有写，value() 是 null
function entry(placeholder, name = "答案") {
  const input = make("input", { type: "text", placeholder, autocomplete: "off", spellcheck: false, size: 16 });
  return { fields: [make("label", { className: "control" }, `${name} `, input)],
           value: () => (input.value.trim() ? input.value : null) };
}

// 成立的几句打勾；一句也不成立也是答案
function letters(data) {
  const boxes = data.letters.map((value) => make("input", { type: "checkbox", value }));
  return { fields: [make("fieldset", {}, make("legend", {}, "成立的打勾"),
                         ...boxes.map((box) => make("label", {}, box, ` ${box.value}`)))],
           value: () => boxes.filter((box) => box.checked).map((box) => box.value) };
}

function say(verdict, { right, text }) {
  verdict.replaceChildren(...prose(text));
  verdict.dataset.right = right;
}

// 提示一步一步给，答案按了才有
function helping(data) {
  const hints = make("ul", { className: "hints" });
  const next = button("提示", () => {
    const shown = hints.children.length + 1;
    hints.append(make("li", {}, `提示 ${shown}/${data.hints.length}：`, ...prose(data.hints[shown - 1])));
    next.hidden = shown === data.hints.length;
  });
  const solution = make("div", { className: "solution", hidden: true },
                        make("p", {}, ...prose(data.solution)),
                        data.code && make("pre", { tabIndex: 0 }, make("code", {}, data.code)));
  const open = button("看答案", () => {
    solution.hidden = !solution.hidden;
    open.setAttribute("aria-expanded", !solution.hidden);
  }, { data: { "aria-expanded": false } });
  return [make("div", { className: "row" }, next, open), hints, solution];
}

// 先猜：猜了，或者按「不猜」，才有答案和依据
function guessing(data, shown) {
  const { fields, value } = data.options.length ? options(data.options) : entry("如 3×8×8", "猜");
  const verdict = make("p", { className: "verdict", data: { role: "status" } });
  const reveal = make("div", { className: "reveal", hidden: true }, ...shown, picture(data.picture));
  const before = recall(data.key);
  if (before) say(verdict, { text: `上次猜的是 ${before}。` });
  const commit = (event) => {
    event.preventDefault();
    const found = value() === null ? { right: null, text: "先猜一个，或者不猜，直接看。" } : judge(data, value());
    say(verdict, found);
    if (found.right === null) return;
    remember(data.key, found.value);
    reveal.hidden = false;
  };
  const skip = button("不猜，直接看", () => {
    say(verdict, { text: data.skip });
    reveal.hidden = false;
  });
  return [make("p", {}, make("strong", {}, "先猜 "), ...prose(data.question)),
          make("form", { className: "row", on: { submit: commit } }, ...fields, make("button", {}, "猜"), skip),
          verdict, reveal];
}

function options(names) {
  const select = make("select", {}, make("option", { value: "", disabled: true, selected: true }, "选一个"),
                      ...names.map((name) => make("option", {}, name)));
  return { fields: [make("label", { className: "control" }, "猜 ", select)], value: () => select.value || null };
}

const picture = (found) => found && make("img", { src: found.src, alt: found.alt, style: { "--width": `${found.width}px` } });
