// 没有内核的 LeNet：helpers/widgets/inside.js 问的，这里用网页里的权重答，
// 回答的样子与 helpers/widgets/answers.py 的相同，那里说了每一种是什么。

import { newest, view } from "inside.js";
import { at, forward, network, softmax, terms } from "forward.js";
import { prepare } from "sketch.js";
import { gradCam, occlusion } from "where.js";

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
  const open = opened(data);
  return async function ask(question, buffers) {
    if (question.ask === "nearest") await new Promise((done) => setTimeout(done));
    try {
      return ANSWERS[question.ask](open, question, buffers);
    } catch (error) {
      return [{ error: error.message }, []];
    }
  };
}

// ---------- 打开 ----------

function bytes(base64) {
  const text = atob(base64), found = new Uint8Array(text.length);
  for (let n = 0; n < found.length; n++) found[n] = text.charCodeAt(n); // Uint8Array.from 逐个字母地造，慢几倍
  return found;
}

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
  const [sheets, height, width] = open.start.steps[k].sheets, number = row * width + column;
  if (![[sheet, sheets], [row, height], [column, width]].every(([i, size]) => i >= 0 && i < size))
    throw new RangeError(`第 ${k} 步没有第 (${sheet}, ${row}, ${column}) 格。`);
  if (shape.length > 1) return [sheet, row, column];
  if (number >= shape[0]) throw new RangeError(`第 ${k} 步只有 ${shape[0]} 个数，没有第 ${number} 个。`);
  return [number];
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
  const rows = Math.ceil(height / shrink), columns = Math.ceil(width / shrink);
  const totals = new Float64Array(count * rows * columns), merged = totals.slice();
  numbers.forEach((value, n) => {
    const line = Math.floor(n / width), sheet = Math.floor(line / height);
    const k = (sheet * rows + Math.floor((line % height) / shrink)) * columns + Math.floor((n % width) / shrink);
    totals[k] += value;
    merged[k] += 1;
  });
  return [rows, columns, totals.map((total, k) => total / merged[k])];
}

// ---------- 一格的算术 ----------

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
const total = (found) => sum(found.map((term) => term.contribution));
const isInput = (term) => term.role === "input";
const largest = (list, size) => [...list].sort((a, b) => Math.abs(size(b)) - Math.abs(size(a)));

// 上一步是第 k 步的一项，写成网页要画的样子
const told = (open, k, { role, value, weight, contribution, place }) =>
  ({ role, value, weight, contribution, to: place && cellOf(open, k, place) });

function arithmetic(open, k, place, channel, first) {
  const found = terms(open.net, open.values, k, place), { kind, name, notes } = open.kinds[k];
  const inputs = found.filter(isInput), others = found.filter((term) => !isInput(term));
  const answer = { kind, name, value: at(open.values[k], place), note: notes[inputs.length] ?? "", constants: {},
    count: inputs.length, others: others.map((term) => told(open, k - 1, term)), total: total(found),
    cell: cellOf(open, k, place), index: [0, ...place] };
  if (inputs[0]?.at) return { ...answer, ...windowed(open, k, inputs, channel) };
  const ranked = largest(inputs, (term) => term.contribution), shown = ranked.splice(first, PAGE);
  return { ...answer, first, terms: shown.map((term) => told(open, k - 1, term)), unseen: total(ranked) };
}

// 卷积和汇聚：一个通道的窗口，和各通道的和
function windowed(open, k, inputs, channel) {
  const channels = new Map(inputs.map((term) => [term.place[0], []]));
  for (const term of inputs) channels.get(term.place[0]).push(term);
  const ranked = largest(Array.from(channels, ([each, found]) => [each, total(found)]), (each) => each[1]);
  const shown = channels.has(channel) ? channel : ranked[0][0], { shape, window } = open.net[k - 1];
  const cells = channels.get(shown).map((term) => ({ ...told(open, k - 1, term), at: term.at }));
  return { grid: { size: window ?? shape.slice(2), channel: shown, cells, kernel: !window }, channels: channels.size,
           sums: ranked.slice(0, PAGE), unseen: sum(ranked.slice(PAGE).map((each) => each[1])) };
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
    const seen = shades(open.values[0].content, [0, 1]);
    return [{ ...answer, probabilities: open.probabilities, size: open.size }, [seen, ...data]];
  },

  maps(open, { looking }) {
    const maps = [], data = [];
    for (const [k, first, count] of looking) {
      const [sheets, ...size] = open.start.steps[k].sheets, many = Math.min(count, sheets - first);
      const [low, high] = ends(open.values[k]);
      const [height, width, numbers] = small(sheetsOf(open, k, first, many), many, size);
      maps.push({ step: k, first, shape: [many, height, width], low, high });
      data.push(shades(numbers, [low, high], many * height * width));
    }
    return [{ maps }, data];
  },

  cell(open, { cell, channel, first }) {
    const answer = arithmetic(open, cell[0], placed(open, cell), channel, first ?? 0), data = [];
    const sources = (answer.grid?.cells ?? answer.terms).map(({ to }) => to.slice(0, 2));
    const chosen = [...new Map([cell.slice(0, 2), ...sources].map((each) => [String(each), each])).values()];
    answer.pictures = chosen.slice(0, 4).map(([k, sheet]) => {
      const [low, high] = k ? ends(open.values[k]) : [0, 1], size = open.start.steps[k].sheets.slice(1);
      data.push(shades(sheetsOf(open, k, sheet, 1), [low, high], size[0] * size[1]));
      return { step: k, sheet, size, low, high };
    });
    return [answer, data];
  },

  trail(open, { cell }) {
    const trail = [];
    for (let k = cell[0], place = placed(open, cell); k; k--) {
      const [term] = largest(terms(open.net, open.values, k, place).filter(isInput), (each) => each.contribution);
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
    const heat = (method === "occlusion" ? occlusion : gradCam)(open.net, open.values, chosen);
    const reach = Math.max(heat.reduce((most, value) => Math.max(most, Math.abs(value)), 0), 1e-12);
    return [{ size: open.size, reach }, [shades(heat, [-reach, reach])]];
  },
};
