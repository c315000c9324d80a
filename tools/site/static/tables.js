// 读 tables.py 写好的形状表。一个位置是一段文字，一层一行；文字里挖掉的数，每个是边长的影响乘宽度的多项式。
// 位置写成每个滑块停在第几格：{c1: 5, size: 12}。

const SLOT = "#";

// 一个滑块停在第几格时的值
export function valueAt(slider, tick) {
  if (slider.options) return slider.options[tick];
  return Number((slider.low + tick * slider.step).toFixed(10)); // 0.05 的几倍，不留下尾巴
}

// 一个值在第几格；没有这一格是 null
export function tickOf(slider, value) {
  if (slider.options) {
    const tick = slider.options.indexOf(value);
    return tick < 0 ? null : tick;
  }
  const tick = Math.round((value - slider.low) / slider.step);
  const there = typeof value === "number" && value >= slider.low && value <= slider.high;
  return there && Math.abs(valueAt(slider, tick) - value) < 1e-9 ? tick : null;
}

// 几个滑块在哪里；有小数的，只看是不是 0
const key = (data, names, ticks) =>
  names.map((name) => {
    const slider = data.sliders.find((each) => each.name === name);
    return slider.fractional ? Number(valueAt(slider, ticks[name]) !== 0) : ticks[name];
  }).join(",");

// 常数就是那个数；别的是 [除以几, [系数, 变量, 变量…], …]
function polynomial(found, known) {
  if (typeof found === "number") return found;
  const [by, ...terms] = found;
  const term = ([coef, ...mono]) => mono.reduce((product, i) => product * known[i], coef);
  return terms.reduce((sum, each) => sum + term(each), 0) / by;
}

// 由滑块算出来的变量：整除的，几张表的和，或者一个多项式
function made([how, ...parts], known, data, ticks) {
  if (how === "//") return Math.floor(known[parts[0]] / known[parts[1]]);
  if (how !== "+") return polynomial([how, ...parts], known);
  const [plus, ...tables] = parts;
  return tables.reduce((sum, [slider, table]) => sum + data.tables[table][ticks[data.sliders[slider].name]], plus);
}

function variables(data, ticks, pick) {
  const known = data.variables.map((name) => valueAt(data.sliders.find((each) => each.name === name), ticks[name]));
  for (const each of data.made[pick] ?? []) known.push(made(each, known, data, ticks));
  return known;
}

// 一个位置的文字
export function told(data, ticks) {
  const [where, entries] = data.places[key(data, data.form, ticks)], which = where[ticks.size];
  const rank = [...where.slice(0, ticks.size)].filter((each) => each === which).length;
  const pick = key(data, data.pick, ticks), [text, ...slots] = entries[parseInt(which, 36)][pick];
  const known = variables(data, ticks, pick);
  const [first, ...parts] = data.texts[text].split(SLOT);
  const filled = parts.reduce((sofar, part, i) => {
    const [scale, poly] = data.slots[slots[i]], factor = data.scales[scale];
    return sofar + (typeof factor === "number" ? factor : factor[rank]) * polynomial(data.polys[poly], known) + part;
  }, first);
  return data.renamed.reduce((sofar, name) => {
    const slider = data.sliders.find((each) => each.name === name);
    return sofar.replaceAll(`{${name}}`, valueAt(slider, ticks[name]));
  }, filled);
}

// 文字拆开：rows 是走得通的各层；走不通的另有 broken：那句话，停下的一层（说得出的话）
export function read(text) {
  const lines = text.split("\n"), last = lines.at(-1);
  const broken = last.startsWith("!") ? last.slice(1).split("\t") : null;
  const rows = (broken ? lines.slice(0, -1) : lines).map((line) => {
    const [name, kind, shape, params, macs, field] = line.split("\t");
    return { name, kind, out_shape: shape.split("×").map(Number), params: Number(params), macs: Number(macs), field };
  });
  return { rows, broken: broken && { sentence: broken[0], place: broken.length > 1 ? broken.slice(1) : null } };
}

export const total = (rows, what) => rows.reduce((sum, row) => sum + row[what], 0);

// 三位有效数字，与 Python 的 :.3g 相同：正好在中间的取偶数
export function three(value) {
  const power = Math.floor(Math.log10(value)), digits = 2 - power;
  const scaled = digits >= 0 ? value * 10 ** digits : value / 10 ** -digits;
  const tied = scaled % 1 === 0.5 && Number.isInteger(value * 2 ** (digits + 1));
  if (tied) value = (2 * Math.round(scaled / 2)) / 10 ** digits;
  const text = Number(value.toPrecision(3));
  if (text >= 1e-4 && text < 1000) return String(text);
  return text.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
}

// 与书上的网络比，一句话
export function compare(text, book) {
  if (text === book) return "与书上的网络相同。";
  const [now, was] = [text, book].map((each) => read(each).rows);
  const times = (what) => three(total(now, what) / total(was, what));
  return `参数是书上的 ${times("params")} 倍，乘加是 ${times("macs")} 倍。`;
}
