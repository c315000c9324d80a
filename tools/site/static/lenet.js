// 没有内核的 LeNet：helpers/widgets/inside.js 问的，这里用网页里的权重答，
// 回答的样子与 helpers/widgets/answers.py 的相同，那里说了每一种是什么。

import { newest, view } from "inside.js";
import { forward, gradient, network, softmax, terms } from "forward.js";
import { prepare } from "sketch.js";

const PAGE = 12, THUMB = 32; // 一次送几项；缩略图至多几格宽
const BATCH = 64, LIKE = 6; // 找像的一次算几张，像的给几张

export function mount(root, data) {
  const live = document.createElement("div"), about = document.createElement("p");
  about.className = "about";
  about.textContent = data.about;
  view(live, newest(asking(data)));
  root.replaceChildren(live, about);
}

// 问一句，回答是 [JSON, 几段字节]；找像的要算一会儿，先让网页画出算到了哪里
export function asking(data) {
  const network = opened(data);
  return async function ask(question, buffers) {
    if (question.ask === "nearest") await new Promise((done) => setTimeout(done));
    try {
      return ANSWERS[question.ask](network, question, buffers);
    } catch (error) {
      return [{ error: error.message }, []];
    }
  };
}

// ---------- 打开 ----------

const bytes = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

// 两个字节的小数：1 位正负，5 位指数，10 位尾数
function halves(base64) {
  const view = new DataView(bytes(base64).buffer);
  return Float32Array.from({ length: view.byteLength / 2 }, (_, n) => {
    const bits = view.getUint16(2 * n, true), exponent = (bits >> 10) & 31, rest = (bits & 1023) / 1024;
    return (bits >> 15 ? -1 : 1) * (exponent ? (1 + rest) * 2 ** (exponent - 15) : rest * 2 ** -14);
  });
}

export function opened(data) {
  const [height, width] = data.start.steps[0].shape.slice(1);
  const open = { ...data, net: network(data.layers, halves(data.weights)), size: [height, width], features: [] };
  for (const half of ["test", "train"]) {
    const pixels = bytes(data[half].images), count = height * width;
    open[half] = { labels: data[half].labels, image: (n) => pixels.subarray(n * count, (n + 1) * count) };
  }
  look(open, open.test.image(0));
  return open;
}

const scaled = (open, pixels) => ({ shape: [1, ...open.size], content: Float32Array.from(pixels, (byte) => byte / 255) });

export function look(open, pixels) {
  open.values = forward(open.net, scaled(open, pixels));
  open.probabilities = softmax(open.values.at(-1));
}

// ---------- 一格画在哪里 ----------

// 第 k 步画成第几张、第几行、第几列的，是张量的哪一格；没有就说一句
function placed(open, [k, sheet, row, column]) {
  const { shape } = open.values[k] ?? {};
  if (!shape) throw new RangeError(`没有第 ${k} 步。`);
  const [sheets, height, width] = open.start.steps[k].sheets;
  if (![[sheet, sheets], [row, height], [column, width]].every(([at, size]) => at >= 0 && at < size))
    throw new RangeError(`第 ${k} 步没有第 (${sheet}, ${row}, ${column}) 格。`);
  if (shape.length > 1) return [sheet, row, column];
  if (row * width + column >= shape[0]) throw new RangeError(`第 ${k} 步只有 ${shape[0]} 个数，没有第 ${row * width + column} 个。`);
  return [row * width + column];
}

function cellOf(open, k, place) {
  const width = open.start.steps[k].sheets[2];
  return place.length > 1 ? [k, ...place] : [k, 0, Math.floor(place[0] / width), place[0] % width];
}

function ends({ content }) {
  return [content.reduce((a, b) => Math.min(a, b)), content.reduce((a, b) => Math.max(a, b))];
}

// 0–254 的深浅；画不满的格是 255
function shades(numbers, [low, high], count = numbers.length) {
  const scale = 254 / Math.max(high - low, 1e-30), found = new Uint8Array(count).fill(255);
  numbers.forEach((value, n) => { found[n] = Math.min(254, Math.max(0, Math.round((value - low) * scale))); });
  return found;
}

// 第 k 步从第 first 张起的几张；画不满的不够长
function sheetsOf(open, k, first, count) {
  const [, height, width] = open.start.steps[k].sheets, size = height * width;
  return open.values[k].content.subarray(first * size, (first + count) * size);
}

// 缩略图：太大的缩小，画不满的向量不缩；返回 [高, 宽, 数]
function small(numbers, count, [height, width]) {
  const shrink = Math.ceil(Math.max(height, width) / THUMB);
  if (shrink === 1 || numbers.length < count * height * width) return [height, width, numbers];
  const rows = Math.ceil(height / shrink), columns = Math.ceil(width / shrink), cells = new Float64Array(count * rows * columns), merged = cells.slice();
  numbers.forEach((value, n) => {
    const line = Math.floor(n / width), sheet = Math.floor(line / height);
    const at = (sheet * rows + Math.floor((line % height) / shrink)) * columns + Math.floor((n % width) / shrink);
    cells[at] += value;
    merged[at] += 1;
  });
  return [rows, columns, cells.map((total, n) => total / merged[n])];
}

// ---------- 一格的算术 ----------

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
const total = (found) => sum(found.map((term) => term.contribution));
const largest = (list, size) => [...list].sort((a, b) => Math.abs(size(b)) - Math.abs(size(a)));

// 上一步是第 k 步的一项，写成网页要画的样子
const told = (open, k, { role, value, weight, contribution, place }) =>
  ({ role, value, weight, contribution, to: place && cellOf(open, k, place) });

function arithmetic(open, k, place, channel, first) {
  const found = terms(open.net, open.values, k, place), inputs = found.filter((term) => term.role === "input");
  const { kind, name, notes } = open.kinds[k], index = cellOf(open, k, place), [, , height, width] = [0, ...open.values[k].shape];
  const value = open.values[k].content[place.length > 1 ? (place[0] * height + place[1]) * width + place[2] : place[0]];
  const answer = { kind, name, value, note: notes[inputs.length] ?? "", constants: {}, count: inputs.length, total: total(found),
    others: found.filter((term) => term.role !== "input").map((term) => told(open, k - 1, term)), cell: index, index: [0, ...place] };
  if (inputs[0]?.at) return { ...answer, ...windowed(open, k, inputs, channel) };
  const ranked = largest(inputs, (term) => term.contribution), shown = ranked.splice(first, PAGE);
  return { ...answer, first, terms: shown.map((term) => told(open, k - 1, term)), unseen: total(ranked) };
}

// 卷积和汇聚：一个通道的窗口，和各通道的和
function windowed(open, k, inputs, channel) {
  const channels = Map.groupBy(inputs, (term) => term.place[0]);
  const ranked = largest(Array.from(channels, ([each, found]) => [each, total(found)]), ([, contribution]) => contribution);
  const shown = channels.has(channel) ? channel : ranked[0][0], { shape, window } = open.net[k - 1];
  const cells = channels.get(shown).map((term) => ({ ...told(open, k - 1, term), at: term.at }));
  return { grid: { size: window ?? shape.slice(2), channel: shown, cells, kernel: !window }, channels: channels.size,
           sums: ranked.slice(0, PAGE), unseen: sum(ranked.slice(PAGE).map(([, contribution]) => contribution)) };
}

// ---------- 网络看的是哪里 ----------

// 最后一个还有高和宽的一步，各通道乘以梯度的平均数
function gradCam(open, label) {
  const k = open.values.findLastIndex(({ shape }) => shape.length > 1 && Math.min(...shape.slice(1)) > 1);
  const [sheets, height, width] = open.values[k].shape, size = height * width, small = new Float64Array(size);
  const slopes = gradient(open.net, open.values, label, k);
  for (let c = 0; c < sheets; c++) {
    const weight = sum([...slopes.subarray(c * size, (c + 1) * size)]) / size;
    for (let n = 0; n < size; n++) small[n] += weight * open.values[k].content[c * size + n];
  }
  return enlarged(small.map((value) => Math.max(0, value)), [height, width], open.size);
}

// 双线性
function enlarged(small, [rows, columns], [height, width]) {
  const between = (i, from, to) => {
    const at = Math.max(0, ((i + 0.5) * from) / to - 0.5), low = Math.floor(at);
    return [low, Math.min(low + 1, from - 1), at - low];
  };
  return Float32Array.from({ length: height * width }, (_, n) => {
    const [top, bottom, y] = between(Math.floor(n / width), rows, height), [left, right, x] = between(n % width, columns, width);
    const along = (row) => small[row * columns + left] * (1 - x) + small[row * columns + right] * x;
    return along(top) * (1 - y) + along(bottom) * y;
  });
}

// 遮住一处，概率少了多少；一个像素是盖过它的各个方块的平均
function occlusion(open, label) {
  const [height, width] = open.size, window = Math.floor(Math.min(height, width) / 4), stride = Math.max(1, Math.floor(window / 3));
  const starts = (size) => [...new Set([...Array.from({ length: Math.ceil((size - window + 1) / stride) }, (_, i) => i * stride), size - window])];
  const heat = new Float32Array(height * width), count = new Float32Array(height * width);
  for (const row of starts(height)) for (const column of starts(width)) {
    const content = open.values[0].content.slice(), covered = [];
    for (let y = row; y < row + window; y++) for (let x = column; x < column + window; x++) covered.push(y * width + x);
    for (const n of covered) content[n] = 0;
    const after = softmax(forward(open.net, { shape: open.values[0].shape, content }).at(-1))[label];
    for (const n of covered) {
      heat[n] += open.probabilities[label] - after;
      count[n] += 1;
    }
  }
  return heat.map((drop, n) => drop / count[n]);
}

// ---------- 各种问题 ----------

const ANSWERS = {
  start(open) {
    const [image, data] = ANSWERS.image(open, { image: 0 }, []);
    return [{ ...image, ...open.start }, data];
  },

  image(open, question, buffers) {
    const answer = { label: null, prepared: null }, data = [];
    if (buffers.length) {
      const { before, after, inverted, filled } = prepare(buffers[0], question.size, question);
      answer.prepared = { inverted, filled, plain: softmax(forward(open.net, scaled(open, before)).at(-1)) };
      data.push(before, after);
      look(open, after);
    } else {
      const number = Math.min(Math.max(Math.trunc(question.image), 0), open.test.labels.length - 1);
      answer.label = open.test.labels[number];
      look(open, open.test.image(number));
    }
    return [{ ...answer, probabilities: open.probabilities, size: open.size }, [shades(open.values[0].content, [0, 1]), ...data]];
  },

  maps(open, { looking }) {
    const maps = [], data = [];
    for (const [k, first, count] of looking) {
      const [sheets, ...size] = open.start.steps[k].sheets, many = Math.min(count, sheets - first), [low, high] = ends(open.values[k]);
      const [height, width, numbers] = small(sheetsOf(open, k, first, many), many, size);
      maps.push({ step: k, first, shape: [many, height, width], low, high });
      data.push(shades(numbers, [low, high], many * height * width));
    }
    return [{ maps }, data];
  },

  cell(open, { cell, channel, first }) {
    const answer = arithmetic(open, cell[0], placed(open, cell), channel, first ?? 0), data = [];
    const sources = (answer.grid?.cells ?? answer.terms).map(({ to }) => to.slice(0, 2));
    const chosen = [...new Map([cell.slice(0, 2), ...sources].map((each) => [String(each), each])).values()].slice(0, 4);
    answer.pictures = chosen.map(([k, sheet]) => {
      const [low, high] = k ? ends(open.values[k]) : [0, 1], size = open.start.steps[k].sheets.slice(1);
      data.push(shades(sheetsOf(open, k, sheet, 1), [low, high], size[0] * size[1]));
      return { step: k, sheet, size, low, high };
    });
    return [answer, data];
  },

  trail(open, { cell }) {
    const trail = [];
    for (let k = cell[0], place = placed(open, cell); k; k--) {
      const [term] = largest(terms(open.net, open.values, k, place).filter(({ role }) => role === "input"), (each) => each.contribution);
      trail.push([...cellOf(open, k - 1, term.place), term.value]);
      place = term.place;
    }
    return [{ cell, trail }, []];
  },

  // 最后一层收到的数，一批一批地算
  nearest(open) {
    const count = open.train.labels.length, { features } = open, last = ({ content }) => content;
    if (features.length < count) {
      for (let n = features.length, end = Math.min(count, n + BATCH); n < end; n++)
        features.push(last(forward(open.net, scaled(open, open.train.image(n))).at(-2)));
      return [{ progress: features.length }, []];
    }
    const mine = last(open.values.at(-2));
    const away = features.map((each, n) => [Math.hypot(...each.map((value, i) => value - mine[i])), n]);
    const near = away.sort((a, b) => a[0] - b[0]).slice(0, LIKE);
    return [{ labels: near.map(([, n]) => open.train.labels[n]), away: near.map(([distance]) => distance), among: count },
            near.map(([, n]) => open.train.image(n))];
  },

  where(open, { method, label }) {
    const chosen = label ?? open.probabilities.indexOf(Math.max(...open.probabilities));
    const heat = (method === "occlusion" ? occlusion : gradCam)(open, chosen);
    const reach = Math.max(heat.reduce((most, value) => Math.max(most, Math.abs(value)), 0), 1e-12);
    return [{ size: open.size, reach }, [shades(heat, [-reach, reach])]];
  },
};
