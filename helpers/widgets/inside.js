// 打开一个训练好的网络：左边是图像，中间一列一列的特征图，右边是各类的概率，下面是一格的算术。
// 画和问分开：view(root, ask) 只画，ask(问题, 字节, 收到回答做什么) 由别处给，有没有内核都行。

const SEED = 112; // 画板里面几格宽
const PATIENCE = 3000; // 毫秒：内核这么久没有回答，就说一句

// ---------- 小工具 ----------

function make(tag, props = {}, ...children) {
  const { style, data, on, ...rest } = props;
  const node = Object.assign(document.createElement(tag), rest);
  Object.assign(node.style, style);
  for (const [name, value] of Object.entries(data ?? {})) node.setAttribute(name, value);
  for (const [name, action] of Object.entries(on ?? {})) node.addEventListener(name, action);
  node.append(...children.filter((child) => child != null));
  return node;
}

const button = (text, title, click, props = {}) =>
  make("button", { type: "button", title, on: { click }, ...props }, text);

function number(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e5 || size < 1e-4 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
  return text.replace("-", "−");
}

// 格子里写得下的；太小的写成 4e-4，不写成 0.00
const short = (value) => (value === 0 ? "0" : Math.abs(value) >= 100 ? value.toFixed(0) :
  Math.abs(value) < 0.005 ? value.toExponential(0) : value.toFixed(2)).replace(/^-/, "−"); // 指数的负号短，格子里才放得下

// 每种问题一次只问一个；没有答完又问的，只留最新的一个
export function newest(send) {
  const flying = new Set(), waiting = new Map();
  return function ask(question, buffers, then) {
    if (flying.has(question.ask)) return void waiting.set(question.ask, [question, buffers, then]);
    flying.add(question.ask);
    send(question, buffers).then(([answer, data]) => {
      flying.delete(question.ask);
      const next = waiting.get(question.ask);
      waiting.delete(question.ask);
      if (next) ask(...next);
      then(answer, data);
    });
  };
}

// ---------- 颜色 ----------

const VIRIDIS = ["440154", "482878", "3e4989", "31688e", "26828e", "1f9e89", "35b779", "6ece58", "b5de2b", "fde725"];
const SIGNED = ["2166ac", "67a9cf", "d1e5f0", "f7f7f7", "fddbc7", "ef8a62", "b2182b"];
const GRAY = ["000000", "ffffff"];

function table(stops) {
  const colors = stops.map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  return Array.from({ length: 255 }, (_, k) => {
    const at = (k / 254) * (colors.length - 1), i = Math.min(Math.floor(at), colors.length - 2), share = at - i;
    return colors[i].map((low, c) => Math.round(low + share * (colors[i + 1][c] - low)));
  });
}
const TABLES = { maps: table(VIRIDIS), signed: table(SIGNED), gray: table(GRAY) };

// 一个字节一格；255 是没有
function paint(canvas, shades, [height, width], name, alpha = () => 255) {
  canvas.width = width;
  canvas.height = height;
  const pixels = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    if (shades[i] === 255 && name === "maps") continue;
    const [r, g, b] = TABLES[name][Math.min(shades[i], 254)];
    pixels.data.set([r, g, b, alpha(shades[i])], 4 * i);
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

const signedColor = (value, reach) => {
  const [r, g, b] = TABLES.signed[Math.round(127 + 127 * Math.max(-1, Math.min(1, value / (reach || 1))))];
  const light = 0.2126 * (r / 255) ** 2.2 + 0.7152 * (g / 255) ** 2.2 + 0.0722 * (b / 255) ** 2.2;
  return { background: `rgb(${r},${g},${b})`, color: light > 0.18 ? "#000" : "#fff" }; // 哪一个看得清
};

// 汇合的几条路，一条一种颜色
const WAYS = ["#7b5ea7", "#b58900", "#1b9e77", "#d0568c"];

// 连结的一步里，第几号通道是哪一路的
function wayOf(steps, k, sheet) {
  const { kind, sources, sheets } = steps[k], counts = sources.map((from) => steps[from].sheets[0]);
  if (kind !== "join" || counts.reduce((a, b) => a + b, 0) !== sheets[0]) return -1;
  let way = 0;
  for (let left = sheet; left >= counts[way]; way++) left -= counts[way];
  return way;
}

// ---------- 各步摆在哪里 ----------

const HEIGHT = 286, TOP = 22, GAP = 12;

function layout(steps) {
  const widths = [];
  for (const step of steps.slice(1)) {
    const width = step.shape.length < 2 ? 42 : 64;
    widths[step.column] = Math.max(widths[step.column] ?? 0, width);
  }
  const lefts = [];
  let left = 8;
  widths.forEach((width, column) => { lefts[column] = left; left += width + GAP; });
  const boxes = steps.map((step) => {
    const tall = (HEIGHT - TOP) / step.lanes;
    return { left: lefts[step.column] ?? -GAP, width: widths[step.column] ?? 0, top: TOP + tall * step.lane,
             height: tall - (step.lanes > 1 ? 4 : 0) };
  });
  return { boxes, width: left };
}

// 缩略图多大，一次放得下几张
function slots(box, [count, height, width]) {
  const inner = box.width - 6, room = box.height - 28;
  if (height === 1 || count === 1) {
    const share = Math.min(inner / width, room / height, 24);
    return { size: [share * width, share * height], fit: 1 };
  }
  for (const across of [1, 2, 3]) {
    const side = Math.floor((inner - across + 1) / across), rows = Math.max(1, Math.floor(room / (side + 1)));
    if (count <= across * rows || across === 3) {
      const rest = count > across * rows ? Math.max(1, Math.floor((room - 13) / (side + 1))) : rows;
      return { size: [side, (side * height) / width], fit: across * rest };
    }
  }
}

// 从一步到另一步的线；跳过几列的从上面绕过去
function curve(steps, boxes, from, to) {
  const a = boxes[from], b = boxes[to];
  const middle = (box) => box.top + Math.min(box.height / 2, 60);
  const [x1, x2] = [a.left + a.width, b.left], y1 = from === 0 ? middle(b) : middle(a), y2 = middle(b);
  const blocked = steps.some((step) => step.lane === steps[from].lane && step.column > steps[from].column &&
                                       step.column < steps[to].column);
  if (blocked) return `M${x1} ${y1} C${x1 + 8} ${a.top - 22},${x1 + 8} ${a.top - 12},${x1 + 24} ${a.top - 12} ` +
                      `L${x2 - 16} ${b.top - 12} Q${x2 - 6} ${b.top - 12},${x2} ${y2}`;
  const turn = Math.max(x1, x2 - 2 * GAP); // 先一直往右，到汇合的地方才转
  return `M${x1} ${y1} L${turn} ${y1} C${turn + GAP} ${y1},${x2 - GAP / 2} ${y2},${x2} ${y2}`;
}

// ---------- 中间：一列一列 ----------

function strip(root, state, act) {
  const inner = make("div"), shell = make("div", { className: "strip", data: { "aria-label": "各层的特征图" } }, inner);
  root.append(shell);
  const parts = { boxes: [], lines: [], steps: [] };

  function build() {
    const { boxes, width } = layout(state.steps);
    parts.boxes = boxes;
    inner.style.width = `${width}px`;
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    inner.append(svg);
    state.steps.forEach((step, k) => {
      for (const from of step.sources) {
        const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
        path.setAttribute("d", curve(state.steps, boxes, from, k));
        if (step.kind === "join") path.style.color = WAYS[step.sources.indexOf(from) % WAYS.length];
        svg.append(path);
        parts.lines.push({ from, to: k, path });
      }
      if (k) parts.steps[k] = stepBox(inner, state, act, k, boxes[k]);
    });
    shell.addEventListener("scroll", () => act.look(visible()));
    new ResizeObserver(() => act.look(visible())).observe(shell);
  }

  // 看得见的各步
  function visible() {
    const from = shell.scrollLeft - 80, to = shell.scrollLeft + shell.clientWidth + 80;
    return parts.steps.filter((part) => part && part.box.left < to && part.box.left + part.box.width > from);
  }

  function mark() {
    const walked = state.path.map((cell) => cell[0]), ahead = state.trail.map((cell) => cell[0]);
    const chain = [...walked, ...ahead];
    for (const { from, to, path } of parts.lines) {
      const i = chain.findIndex((k, j) => k === to && chain[j + 1] === from);
      path.setAttribute("class", i < 0 ? "" : i < walked.length - 1 ? "on" : "next");
    }
    for (const part of parts.steps) part?.mark();
  }

  function reveal(k) {
    const box = parts.boxes[k];
    if (k && (box.left < shell.scrollLeft || box.left + box.width > shell.scrollLeft + shell.clientWidth))
      shell.scrollTo({ left: box.left - shell.clientWidth / 2 });
  }
  // 按 Tab 只停在一步上，别的用方向键走到
  const stop = (k) => parts.steps.forEach((part) => part?.stop(part.k === k));
  return { build, visible, mark, reveal, stop, part: (k) => parts.steps[k] };
}

// 一步的全名；在一个块里的，带上层的名字，与逐层的清单里的一样
const fullTitle = (step, k) => `第 ${k} 步${step.layer?.includes(".") ? `（${step.layer}）` : " "}${[step.title, ...step.details].join("，")}`;

function stepBox(inner, state, act, k, box) {
  const step = state.steps[k], { size, fit } = slots(box, step.sheets), [count] = step.sheets;
  const shape = step.shape.length > 2 ? `${step.shape[0]}@${step.shape.slice(1).join("×")}` : step.shape.join("×");
  const maps = make("div", { className: "maps" }), pager = make("div", { className: "pager" });
  const full = `${fullTitle(step, k)}，${shape}`;
  const node = make("div", { className: `step ${step.kind}`, tabIndex: k === 1 ? 0 : -1, title: full,
    data: { role: "group", "aria-label": full, "data-step": k },
    style: { left: `${box.left}px`, top: `${box.top}px`, width: `${box.width}px`, height: `${box.height}px` },
    on: { keydown: (event) => act.keyOnStep(event, k), focus: () => act.stop(k) } },
    make("header", {}, shortTitle(step).replace("汇聚", ""), make("br"), make("span", { className: "faint" }, shape)), maps);
  if (count > fit) node.append(pager);
  inner.append(node);
  const part = { k, box, first: 0, fit: Math.min(fit, count), fresh: false };

  function turn(by) {
    part.first = Math.max(0, Math.min(part.first + by, Math.floor((count - 1) / fit) * fit));
    part.fresh = false;
    act.look([part]);
  }
  part.show = (found, shades) => {
    const [many, height, width] = found.shape;
    maps.replaceChildren(...Array.from({ length: many }, (_, i) => {
      const canvas = make("canvas", { style: { width: `${size[0]}px`, height: `${size[1]}px` },
        title: `通道 ${found.first + i}，${number(found.low)} 到 ${number(found.high)}`,
        data: { "data-sheet": found.first + i }, on: { click: (event) => act.pick(k, found.first + i, event) } });
      const way = wayOf(state.steps, k, found.first + i);
      if (way >= 0) canvas.style.borderTop = `3px solid ${WAYS[way % WAYS.length]}`;
      paint(canvas, shades.subarray(i * height * width, (i + 1) * height * width), [height, width], "maps");
      return canvas;
    }));
    pager.replaceChildren(button("‹", "前面的", () => turn(-fit), { tabIndex: -1 }), `${part.first + 1}–${part.first + many}/${count}`,
                          button("›", "后面的", () => turn(fit), { tabIndex: -1 }));
    part.outline();
  };
  part.turnTo = (sheet) => {
    const first = Math.floor(sheet / fit) * fit;
    if (first !== part.first) turn(first - part.first);
  };
  part.outline = () => {
    const sheets = (cells) => cells.filter((cell) => cell[0] === k).map((cell) => cell[1]);
    const walked = sheets(state.path), ahead = sheets(state.trail);
    for (const canvas of maps.children) {
      const sheet = Number(canvas.dataset.sheet);
      canvas.className = walked.includes(sheet) ? "on" : ahead.includes(sheet) ? "next" : "";
    }
  };
  part.mark = () => {
    node.classList.toggle("on", state.path.some((cell) => cell[0] === k));
    part.outline();
  };
  part.focus = () => node.focus({ preventScroll: true });
  part.stop = (here) => { node.tabIndex = here ? 0 : -1; };
  return part;
}

const shortTitle = (step) =>
  step.title.replace("Identity", "照搬").replace(/(\S+) 卷积层 \(\d+\)/, "卷积 $1").replace(/(\S+) (最大|平均)汇聚层/, "$2汇聚 $1")
    .replace(/全连接层 \(\d+\)/, "全连接").replace("全局平均汇聚层", "全局平均").replace("批量规范化", "规范化");

// ---------- 左边：图像 ----------

function imagePanel(root, state, act) {
  const seen = make("canvas"), heat = make("canvas", { style: { imageRendering: "auto" } });
  const marker = make("i", { style: { position: "absolute", border: "2px solid #d95f02", boxSizing: "border-box" } });
  const screen = make("div", { className: "screen", data: { "data-what": "seen" } }, seen, heat, marker);
  const body = make("div"), tabs = make("div", { className: "row", data: { role: "group", "aria-label": "图像从哪里来" } });
  const shell = make("div", { className: "left" }, tabs, body);
  root.append(shell);
  const modes = { test: testTools(state, act), draw: drawTools(act), photo: photoTools(act, shell) };
  const prepared = preparedTools(screen, act);
  const where = make("select", { ariaLabel: "网络看的是哪里，叠在图像上", on: { change: () => act.where(where.value) } },
    ...[["", "看哪里：不叠"], ["cam", "Grad-CAM"], ["occlusion", "遮挡（慢）"]]
      .map(([value, text]) => make("option", { value }, text)));

  function choose(mode) {
    state.mode = mode;
    for (const tab of tabs.children) tab.setAttribute("aria-pressed", tab.dataset.mode === mode);
    body.replaceChildren(...(mode === "test" ? [screen, modes[mode].node] : [modes[mode].node, prepared.node]), where);
    modes[mode].enter();
  }
  for (const [mode, text] of [["test", "测试图"], ["draw", "画一张"], ["photo", "照片"]])
    tabs.append(button(text, "", () => choose(mode), { data: { "data-mode": mode } }));

  return {
    start: () => {
      tabs.hidden = !state.drawable;
      choose("test");
    },
    show: (answer, [shades, before, after]) => {
      paint(seen, shades, answer.size, "gray");
      heat.width = heat.width;
      modes.test.show(answer);
      if (answer.prepared) prepared.show(answer, before);
    },
    // 红的是让它说是这一类的，蓝的是相反的
    warm: (answer, [shades]) => paint(heat, shades, answer.size, "signed", (k) => Math.min(200, 2 * Math.abs(k - 127))),
    cool: () => { heat.width = heat.width; },
    method: () => where.value,
    mark: (cell) => {
      marker.hidden = !cell;
      if (!cell) return;
      const [height, width] = state.steps[0].sheets.slice(1);
      Object.assign(marker.style, { left: `${(100 * cell[3]) / width}%`, top: `${(100 * cell[2]) / height}%`,
        width: `max(5px, ${100 / width}%)`, height: `max(5px, ${100 / height}%)` });
    },
    options: prepared.options,
  };
}

function testTools(state, act) {
  const range = make("input", { type: "range", min: 0, value: 0, ariaLabel: "第几张测试图" });
  const text = make("span", { className: "number" });
  const go = (to) => {
    range.value = to;
    act.image({ image: Number(range.value) }, []);
  };
  range.addEventListener("input", () => go(range.value));
  const node = make("div", {}, make("div", { className: "row" },
    button("‹", "前一张", () => go(Number(range.value) - 1)), button("›", "后一张", () => go(Number(range.value) + 1)), text),
    range);
  return {
    node,
    enter: () => {
      range.max = state.images - 1;
      go(range.value);
    },
    show: (answer) => {
      text.textContent = `第 ${range.value} 张` + (answer.label == null ? "" : `：${state.classes[answer.label]}`);
    },
  };
}

function drawTools(act) {
  const pad = make("canvas", { className: "pad", width: SEED, height: SEED, tabIndex: 0,
    data: { "aria-label": "画板", "data-what": "pad" } });
  const hint = make("div", { className: "hint" }, "在这里画一件衣物");
  const brush = make("input", { type: "range", min: 2, max: 24, value: 8, ariaLabel: "笔多粗", style: { width: "60px" } });
  let strokes = [];

  function redraw() {
    const pen = pad.getContext("2d", { willReadFrequently: true });
    Object.assign(pen, { fillStyle: "#000", strokeStyle: "#fff", lineCap: "round", lineJoin: "round" });
    pen.fillRect(0, 0, SEED, SEED);
    for (const { points, width } of strokes) {
      pen.lineWidth = width;
      pen.beginPath();
      pen.moveTo(points[0][0] - 0.01, points[0][1]); // 长是 0 的线画不出来；错开一点，只点一下也是一个圆点
      for (const point of points) pen.lineTo(...point);
      pen.stroke();
    }
    hint.hidden = strokes.length > 0;
    act.pixels(pad, false);
  }
  const at = (event) => {
    const box = pad.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * SEED, ((event.clientY - box.top) / box.height) * SEED];
  };
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    const pressed = event.pointerType === "pen" ? 0.5 + event.pressure : 1;
    strokes.push({ points: [at(event)], width: brush.value * pressed });
    redraw();
    event.preventDefault();
  });
  pad.addEventListener("pointermove", (event) => {
    if (!pad.hasPointerCapture(event.pointerId)) return;
    strokes.at(-1).points.push(at(event));
    redraw();
  });
  const change = (next) => () => { strokes = next(); redraw(); };
  const node = make("div", {}, make("div", { className: "screen" }, pad, hint), make("div", { className: "row" },
    "笔", brush, button("撤销", "去掉最后一笔", change(() => strokes.slice(0, -1))),
    button("清空", "重新画", change(() => []))));
  return { node, enter: redraw, show: () => {} };
}

function photoTools(act, shell) {
  const canvas = make("canvas", { width: 2, height: 2, style: { objectFit: "contain", imageRendering: "auto" } });
  const hint = make("div", { className: "hint faint" }, "把一张照片拖到这里，或者选一个文件");
  const file = make("input", { type: "file", accept: "image/*", ariaLabel: "一张照片", style: { width: "170px" },
    on: { change: () => file.files[0] && open(file.files[0]) } });
  const screen = make("div", { className: "screen", style: { border: "1px dashed" } }, canvas, hint);
  const over = (on) => (event) => {
    event.preventDefault();
    event.stopPropagation();
    screen.classList.toggle("drop", on);
    if (event.type === "drop" && event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
  };
  for (const [name, on] of [["dragenter", true], ["dragover", true], ["dragleave", false], ["drop", false]])
    screen.addEventListener(name, over(on));

  async function open(blob) {
    const image = await createImageBitmap(blob).catch(() => null);
    hint.hidden = Boolean(image);
    hint.textContent = "这个文件不是图片";
    if (!image) return;
    const shrink = Math.min(1, 224 / Math.max(image.width, image.height));
    canvas.width = Math.max(2, Math.round(image.width * shrink));
    canvas.height = Math.max(2, Math.round(image.height * shrink));
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.fillStyle = "#fff"; // 透明的地方是白底
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    act.pixels(canvas, true);
  }
  return { node: make("div", {}, screen, file), enter: () => canvas.width > 2 && act.pixels(canvas, true), show: () => {} };
}

// 整理之前和之后
function preparedTools(screen, act) {
  const before = make("canvas"), words = make("div", { className: "faint", data: { "data-what": "prepared" } });
  const box = (name, title) => make("input", { type: "checkbox", checked: true, name, title, on: { change: act.again } });
  const fill = box("fill", "把封闭的轮廓填满"), centre = box("centre", "缩放、移到正中");
  const node = make("div", {}, make("div", { className: "row", style: { flexWrap: "nowrap" } },
    make("figure", {}, make("div", { className: "screen" }, before), make("figcaption", {}, "缩小的")),
    make("figure", { data: { "data-what": "after" } }, make("figcaption", {}, "网络看到的"))),
    make("div", { className: "row" }, make("label", {}, fill, "填满"), make("label", {}, centre, "居中")), words);
  return {
    get node() {
      node.querySelector("[data-what=after]").prepend(screen);
      return node;
    },
    options: () => ({ fill: fill.checked, centre: centre.checked }),
    show: (answer, shades) => {
      paint(before, shades, [28, 28], "gray");
      const { plain, inverted, filled } = answer.prepared, best = plain.indexOf(Math.max(...plain));
      words.textContent = (inverted ? "反了色。" : "") + (filled > 0.005 ? `填了 ${Math.round(100 * filled)} %。` : "") +
        `不整理：${act.name(best)} ${plain[best].toFixed(2)}`;
    },
  };
}

// ---------- 右边：各类的概率 ----------

function classPanel(root, state, act) {
  const shell = make("div", { className: "right", data: { "aria-label": "各类的概率" } });
  root.append(shell);
  const like = make("div", { className: "like" }), rows = make("div", { style: { display: "grid" } });
  const sure = make("div", { className: "faint" });
  const find = button("最像的训练图", "最后一层收到的数最近的几张", () => act.nearest());
  shell.append(rows, sure, find, like);
  const shown = () => state.probabilities.map((p, k) => [p, k]).sort((a, b) => b[0] - a[0]).slice(0, 10)
    .map(([, k]) => k).sort((a, b) => a - b);
  return {
    show: () => {
      const best = state.best();
      find.hidden = !state.neighbours;
      rows.replaceChildren(...shown().map((k) => {
        const p = state.probabilities[k];
        return make("button", { type: "button", className: `class${k === best ? " best" : ""}`, title: "它的对数几率怎样算出来",
          data: { "data-class": k }, on: { click: () => act.output(k) } }, state.name(k),
          make("span", {}, make("div", { className: "bar", style: { width: `${100 * p}%` } })),
          make("span", { className: "number" }, p.toFixed(2)));
      }));
      const order = [...state.probabilities].sort((a, b) => b - a);
      sure.textContent = `把握 ${Math.round(100 * order[0])} %，比第二名多 ${Math.round(100 * (order[0] - order[1]))} 个百分点`;
    },
    stale: () => { like.replaceChildren(); find.disabled = false; },
    searching: (count) => { find.disabled = true; like.replaceChildren(make("span", { style: { gridColumn: "1/-1" } }, `算过 ${count} 张 …`)); },
    like: (answer, images) => {
      find.disabled = false;
      like.replaceChildren(...images.map((shades, i) => {
        const canvas = make("canvas", { title: `距离 ${number(answer.away[i])}，在 ${answer.among} 张里` });
        paint(canvas, shades, [28, 28], "gray");
        return make("div", {}, canvas, state.name(answer.labels[i]));
      }));
    },
  };
}

// ---------- 一条路：走过的，和接着走到像素的 ----------

function pathBar(root, state, act) {
  const shell = make("nav", { className: "path", data: { "aria-label": "从输出到像素的路" } });
  root.append(shell);
  const label = (cell) => `${cell[0] ? shortTitle(state.steps[cell[0]]) : "像素"} ${state.place(cell)}`;
  return {
    show: () => {
      const walked = state.path.map((cell, i) => button(label(cell), "回到这里", () => act.back(i),
        { className: i === state.path.length - 1 ? "here" : "", data: { "data-walked": i } }));
      const ahead = state.trail.map((cell, i) => [cell, i]);
      const shown = ahead.length > 6 ? [...ahead.slice(0, 3), null, ...ahead.slice(-2)] : ahead;
      const next = shown.map((each) => each === null ? `… ${ahead.length - 5} 步 …` : button(label(each[0]),
        `贡献最大的一条路，再走 ${each[1] + 1} 步`, () => act.ahead(each[1]), { className: "ahead", data: { "data-ahead": each[1] } }));
      const focused = shell.contains(document.activeElement);
      shell.replaceChildren(make("span", { className: "faint" }, "路"), ...walked.flatMap((each, i) => (i ? ["←", each] : [each])),
        ...next.flatMap((each) => ["⇠", each]));
      const here = shell.querySelector(".here");
      if (!here) return;
      shell.scrollLeft = here.offsetLeft - shell.clientWidth / 2; // scrollIntoView 会连笔记本也一起滚
      if (focused) here.focus({ preventScroll: true });
    },
  };
}

// ---------- 下面：一格的算术 ----------

function detailPanel(root, state, act) {
  const shell = make("section", { className: "detail", data: { "aria-label": "一格怎样算出来" } });
  root.append(shell);
  return {
    show: (answer, data) => {
      const focused = state.entering ? "own" :
        shell.contains(document.activeElement) && (document.activeElement.dataset.focus ?? "own");
      state.entering = false;
      const [own, ...sources] = answer.pictures.map((picture, i) => sheetFigure(state, act, picture, data[i], answer, i === 0));
      const parts = answer.kind === "pixel" ? [own, make("div", {}, "图像里的一个像素，到头了：0 是黑，1 是白。")]
        : answer.grid ? gridParts(state, act, answer, own, sources) : listParts(state, act, answer, own, sources);
      shell.replaceChildren(title(state, answer), make("div", { className: "work" }, ...parts));
      if (focused) shell.querySelector(`[data-focus=${focused}]`)?.focus({ preventScroll: true });
    },
    holds: (element) => shell.contains(element),
    fail: (text) => shell.replaceChildren(make("p", { className: "error" }, text)),
  };
}

function title(state, answer) {
  const [k] = answer.cell, step = state.steps[k];
  const way = wayOf(state.steps, k, answer.cell[1]);
  const from = way < 0 ? "" : ` ${step.sources.length} 路里从上数第 ${way + 1} 路。`;
  const constants = Object.entries(answer.constants).map(([name, value]) => `${name} = ${number(value)}`).join("，");
  return make("p", { className: "title", data: { "data-what": "title" } }, `${k ? `${fullTitle(step, k)}，` : ""}` +
    `${state.place(answer.cell)} = `, make("b", { className: "number", data: { "data-what": "value", "data-value": answer.value, "data-cell": answer.cell,
      "data-index": answer.index } }, number(answer.value)),
    make("span", { className: "faint" }, ` ${answer.name}。${from}${constants}${answer.note ? ` ${answer.note}` : ""}`));
}

// 一张特征图，用到的窗口或格子框出来；自己的一张点得到别的格
function sheetFigure(state, act, picture, shades, answer, own) {
  const [height, width] = picture.size, share = Math.min(128 / width, 128 / height, 40);
  const canvas = make("canvas"), step = state.steps[picture.step];
  paint(canvas, shades, picture.size, step.kind === "image" ? "gray" : "maps");
  const sheet = make("div", { className: "sheet", tabIndex: 0, style: { width: `${share * width}px`, height: `${share * height}px` },
    data: { "data-focus": own ? "own" : "source", "data-step": picture.step, "data-sheet": picture.sheet,
            "data-size": picture.size.join(","), role: "application", "aria-label": own ? "方向键换一格，PageUp、PageDown 换一张" : "点一格，看它" } }, canvas);
  const places = own ? [answer.cell.slice(2)] : (answer.grid?.cells ?? answer.terms)
    .filter(({ to }) => to && to[0] === picture.step && to[1] === picture.sheet).map(({ to }) => to.slice(2));
  if (places.length) sheet.append(frame(places, height, width, own || Boolean(answer.grid) || places.length === 1));
  const from = own ? answer.cell.slice(2) : places[0] ?? [0, 0];
  const go = (row, column) => row >= 0 && column >= 0 && row < height && column < width &&
    act.open([picture.step, picture.sheet, row, column], own);
  sheet.addEventListener("click", (event) => {
    const box = sheet.getBoundingClientRect();
    go(Math.floor(((event.clientY - box.top) / box.height) * height), Math.floor(((event.clientX - box.left) / box.width) * width));
  });
  sheet.addEventListener("keydown", (event) => {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const turn = { PageDown: 1, PageUp: -1 }[event.key];
    if (!own || !(move || turn)) return;
    event.preventDefault();
    if (move) go(from[0] + move[0], from[1] + move[1]);
    else if (step.sheets[0] > picture.sheet + turn && picture.sheet + turn >= 0)
      act.open([picture.step, picture.sheet + turn, ...from], true);
  });
  const channel = step.sheets[0] > 1 ? ` 通道 ${picture.sheet}` : "";
  return make("figure", {}, sheet, make("figcaption", {},
    `${own ? "这一格在" : "来自"} ${shortTitle(step)}${channel}，${number(picture.low)} 到 ${number(picture.high)}`));
}

function frame(places, height, width, whole) {
  const rows = places.map((place) => place[0]), columns = places.map((place) => place[1]);
  const [top, left] = whole ? [Math.min(...rows), Math.min(...columns)] : places[0];
  const [bottom, right] = whole ? [Math.max(...rows) + 1, Math.max(...columns) + 1] : [top + 1, left + 1];
  return make("i", { style: { left: `${(100 * left) / width}%`, top: `${(100 * top) / height}%`,
    width: `${(100 * (right - left)) / width}%`, height: `${(100 * (bottom - top)) / height}%` } });
}

function gridParts(state, act, answer, own, [source]) {
  const { size, cells, channel, kernel } = answer.grid;
  const reach = Math.max(...cells.map((cell) => Math.abs(cell.contribution)), 1e-12);
  const heavy = Math.max(...cells.map((cell) => Math.abs(cell.weight)), 1e-12);
  const large = Math.max(...cells.map((cell) => Math.abs(cell.value)), 1e-12);
  const grid = (name, key, scale, what) => make("figure", {}, numbers(state, act, size, cells, key, scale, what),
    make("figcaption", {}, name));
  const parts = [source, grid("窗口里的数", "value", large, "window")];
  if (kernel) parts.push(signed("×", grid(answer.channels > 1 ? `核，通道 ${channel}` : "核", "weight", heavy, "kernel")),
    signed("=", grid("乘积（点一个退回一层）", "contribution", reach, "products")));
  parts.push(signed("→", sums(state, act, answer)), signed("=", own));
  return parts;
}

// 一个运算符和它后面的，换行时不分开
const signed = (text, part) => make("div", { className: "signed" }, make("span", { className: "sign" }, text), part);

// 窗口里的数，一格一个；填充的格是空的
function numbers(state, act, [height, width], cells, key, reach, what) {
  const side = Math.max(7, Math.min(28, Math.floor(140 / Math.max(height, width))));
  const node = make("div", { className: "numbers", data: { "data-what": what }, style: {
    gridTemplateColumns: `repeat(${width}, ${side}px)`, gridAutoRows: `${side}px` } });
  const byPlace = new Map(cells.map((cell) => [cell.at.join(), cell]));
  for (let row = 0; row < height; row++) for (let column = 0; column < width; column++) {
    const cell = byPlace.get([row, column].join());
    if (!cell) node.append(make("span", { title: "在图像外面，是 0", className: "faint" }, side >= 24 ? "0" : ""));
    else node.append(button(side >= 24 ? short(cell[key]) : "", `${number(cell.value)} × ${number(cell.weight)} = ` +
      number(cell.contribution), () => act.follow(cell.to), { style: signedColor(cell[key], reach), disabled: !cell.to }));
  }
  return node;
}

// 各通道的和，加上偏置，就是这一格
function sums(state, act, answer) {
  const { channel, kernel } = answer.grid, node = make("div", { className: "sums", style: { maxWidth: "216px" } });
  const mine = answer.sums.find(([each]) => each === channel);
  const sum = mine ? mine[1] : answer.grid.cells.reduce((total, cell) => total + cell.contribution, 0);
  if (!kernel) {
    node.append(make("div", { className: "number" }, { maximum: "取最大的一个", mean: `${answer.count} 个数的平均` }[answer.kind] ?? "加起来"));
    return node;
  }
  if (answer.channels > 1) {
    node.append(make("div", {}, `${answer.channels} 个通道各有一个核，各自的乘积之和（大的在前，点一个看它）：`));
    for (const [each, total] of answer.sums) node.append(button(`${each} 号 ${number(total)}`, "看这个通道的窗口和核",
      () => act.channel(each), { data: { "aria-pressed": each === channel }, className: "number" }));
    if (answer.channels > answer.sums.length) node.append(make("div", { className: "faint number" },
      `另外 ${answer.channels - answer.sums.length} 个通道，合计 ${number(answer.unseen)}`));
  } else node.append(make("div", { className: "number" }, `乘积之和 ${number(sum)}`));
  for (const term of answer.others) node.append(make("div", { className: "number" }, `${roles[term.role] ?? "常数"} ${number(term.contribution)}`));
  node.append(make("div", { className: "number", data: { "data-what": "total" } }, `合计 ${number(answer.total)}`));
  return node;
}

const roles = { bias: "偏置", shift: "减去平均数", constant: "常数" };

function listParts(state, act, answer, own, sources) {
  const line = (term) => {
    const product = term.weight == null ? (term.role === "input" ? `f(${number(term.value)})` : "") : `${number(term.value)} × ${number(term.weight)}`;
    const text = product ? `${product} = ${number(term.contribution)}` : number(term.contribution);
    if (!term.to) return make("span", { className: "number" }, `${text}　${roles[term.role] ?? ""}`);
    return button(`${text}　← ${shortTitle(state.steps[term.to[0]])} ${state.place(term.to)}`, "退回一层",
      () => act.follow(term.to), { className: "number" });
  };
  const terms = make("div", { className: "terms" }, ...[...answer.terms, ...answer.others].map(line));
  const box = make("div", {}, terms), more = answer.count - answer.terms.length;
  if (more > 0) box.append(make("div", { className: "row" }, `贡献最大的在前，第 ${answer.first + 1}–${answer.first + answer.terms.length} 项，` +
    `共 ${answer.count} 项；其余合计 ${number(answer.unseen)}`,
    button("‹", "更大的", () => act.page(Math.max(0, answer.first - 12)), { disabled: !answer.first }),
    button("›", "更小的", () => act.page(answer.first + 12), { disabled: answer.first + 12 >= answer.count })));
  if (answer.count + answer.others.length > 1) box.append(make("div", { className: "number", data: { "data-what": "total" } },
    `合计 ${number(answer.total)}`));
  const joined = answer.kind === "addition" ? sources.map((each, i) => (i ? signed("+", each) : each)) : sources;
  return [...joined, box, signed("=", own)];
}

// ---------- 合在一起 ----------

export function view(shell, ask) {
  shell.classList.add("inside-shell"); // 怎样排由它有多宽定，不由窗口
  const root = shell.appendChild(make("div", { className: "inside" }));
  const state = { steps: [], classes: [], probabilities: [], path: [], trail: [], channel: null, first: 0, source: [{ image: 0 }, []],
    best: () => state.probabilities.indexOf(Math.max(...state.probabilities)),
    name: (k) => (state.classes[k] ?? String(k)).split(" ")[0],
    place: (cell) => placeOf(state, cell) };
  const act = actions(state, ask, () => panels);
  const panels = {};
  panels.image = imagePanel(root, state, act);
  panels.strip = strip(root, state, act);
  panels.classes = classPanel(root, state, act);
  panels.path = pathBar(root, state, act);
  panels.detail = detailPanel(root, state, act);
  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape") act.leave(event.target);
    if (event.key === "Backspace" && !["INPUT", "SELECT"].includes(event.target.tagName)) {
      event.preventDefault();
      act.back(state.path.length - 2);
    }
  });
  ask({ ask: "start" }, [], (answer, data) => {
    if (answer.error) return panels.detail.fail(answer.error);
    Object.assign(state, answer);
    panels.strip.build();
    panels.image.start();
    act.answer(); // 从图像这一头看起
  });
}

const placeOf = (state, cell) => {
  const step = state.steps[cell[0]];
  if (step.shape.length < 2) {
    const number = cell[2] * step.sheets[2] + cell[3];
    return `第 ${number} 个` + (cell[0] === state.steps.length - 1 && state.classes[number] ? `「${state.name(number)}」` : "");
  }
  return `${cell[0] && step.sheets[0] > 1 ? `通道 ${cell[1]} ` : ""}(${cell[2]}, ${cell[3]})`;
};

function actions(state, ask, panels) {
  const act = {};
  const last = () => state.steps.length - 1;

  function refresh() { // 换了图：看得见的都要新的
    for (let k = 1; k <= last(); k++) panels().strip.part(k).fresh = false;
    act.look(panels().strip.visible());
    panels().classes.show();
    panels().classes.stale();
    panels().image.cool();
    if (panels().image.method() === "cam") act.where("cam");
    if (state.following) act.answer();
    else if (state.path.length) cell();
  }
  function cell() {
    const here = state.path.at(-1);
    ask({ ask: "cell", cell: here, channel: state.channel, first: state.first }, [], (answer, data) => {
      if (answer.error) return panels().detail.fail(answer.error);
      panels().detail.show(answer, data);
    });
    ask({ ask: "trail", cell: here }, [], (answer) => {
      if (String(answer.cell) !== String(state.path.at(-1))) return; // 已经走到别处
      state.trail = answer.trail;
      marks();
    });
  }
  function marks() {
    panels().path.show();
    panels().strip.mark();
    panels().image.mark([...state.path, ...state.trail].find((each) => each[0] === 0));
  }
  function walk(path, reveal = true) {
    Object.assign(state, { path, trail: [], channel: null, first: 0, following: false });
    const [k, sheet] = path.at(-1);
    if (reveal) panels().strip.reveal(k);
    panels().strip.part(k)?.turnTo(sheet);
    marks();
    cell();
  }

  act.image = (question, buffers) => {
    state.source = [question, buffers];
    ask({ ask: "image", ...question }, buffers, (answer, data) => {
      if (answer.error) return panels().detail.fail(answer.error);
      state.probabilities = answer.probabilities;
      panels().image.show(answer, data);
      refresh();
    });
  };
  act.pixels = (canvas, photo) => {
    const { data } = canvas.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, canvas.width, canvas.height);
    const gray = new Uint8Array(canvas.width * canvas.height);
    for (let i = 0; i < gray.length; i++) gray[i] = 0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2];
    act.again = () => act.image({ size: [canvas.height, canvas.width], cut: true, ...panels().image.options() }, [gray]);
    act.again();
  };
  act.look = (parts) => {
    const wanted = parts.filter((part) => !part.fresh);
    if (!wanted.length) return;
    ask({ ask: "maps", looking: wanted.map((part) => [part.k, part.first, part.fit]) }, [], (answer, data) => {
      (answer.maps ?? []).forEach((found, i) => {
        const part = panels().strip.part(found.step);
        if (found.first !== part.first) return;
        part.fresh = true;
        part.show(found, data[i]);
      });
      act.look(panels().strip.visible());
    });
  };
  act.where = (method) => {
    panels().image.cool();
    if (method) ask({ ask: "where", method }, [], (answer, data) => {
      if (panels().image.method() === method && !answer.error) panels().image.warm(answer, data);
    });
  };
  act.nearest = () => ask({ ask: "nearest" }, [], (answer, data) => {
    if ("progress" in answer) {
      panels().classes.searching(answer.progress);
      act.nearest();
    } else if (!answer.error) panels().classes.like(answer, data);
  });
  act.name = (k) => state.name(k);
  act.pick = (k, sheet, event) => { // 点缩略图：那一张，点的那一格
    const [, height, width] = state.steps[k].sheets, box = event.target.getBoundingClientRect();
    const at = (share, size) => Math.max(0, Math.min(size - 1, Math.floor(share * size)));
    act.open([k, sheet, at((event.clientY - box.top) / box.height, height), at((event.clientX - box.left) / box.width, width)]);
  };
  act.open = (cell, same = false) => walk(same ? [...state.path.slice(0, -1), cell] : [cell]);
  act.follow = (to) => to && walk([...state.path, to]);
  act.back = (i) => i >= 0 && walk(state.path.slice(0, i + 1));
  act.ahead = (i) => walk([...state.path, ...state.trail.slice(0, i + 1).map((each) => each.slice(0, 4))]);
  act.output = (k, reveal = true) => {
    const columns = state.steps[last()].sheets[2];
    walk([[last(), 0, Math.floor(k / columns), k % columns]], reveal);
  };
  act.answer = () => { // 读者还没有自己选过一格：看的是答案的那一个
    act.output(state.best(), false);
    state.following = true;
  };
  act.channel = (channel) => { state.channel = channel; cell(); };
  act.page = (first) => { Object.assign(state, { first, following: false }); cell(); };
  act.stop = (k) => panels().strip.stop(k);
  act.leave = (target) => { // 从一格的算术回到那一步，再从那里回到笔记本
    if (panels().detail.holds(target)) {
      const part = panels().strip.part(state.path.at(-1)[0]) ?? panels().strip.part(1);
      panels().strip.reveal(part.k);
      part.focus();
    } else target.closest(".jp-Cell")?.focus();
  };
  act.keyOnStep = (event, k) => {
    const side = { ArrowRight: 1, ArrowLeft: -1 }[event.key], turn = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Enter") {
      act.open([k, panels().strip.part(k).first, 0, 0]);
      state.entering = true;
    } else if (side) {
      const next = panels().strip.part(Math.max(1, Math.min(last(), k + side)));
      panels().strip.reveal(next.k);
      next.focus();
    } else if (turn) panels().strip.part(k).turnTo(panels().strip.part(k).first + turn * panels().strip.part(k).fit);
    else return;
    event.preventDefault();
  };
  return act;
}

// ---------- 有内核的网页：问题和回答是小组件的消息，编号对得上 ----------

// late(是不是): 问了几秒还没有回答；又有回答了
export function messages(model, late) {
  const open = new Map(), me = Math.random().toString(36).slice(2);
  let count = 0, waiting;
  model.on("msg:custom", (answer, buffers) => {
    clearTimeout(waiting);
    late(false);
    const done = open.get(answer.number);
    open.delete(answer.number);
    done?.([answer, (buffers ?? []).map((each) => new Uint8Array(each.buffer ?? each, each.byteOffset ?? 0, each.byteLength))]);
  });
  return (question, buffers) => new Promise((done) => {
    const number = `${me}-${++count}`;
    open.set(number, done);
    clearTimeout(waiting);
    waiting = setTimeout(late, PATIENCE, true);
    model.send({ ...question, number }, undefined, buffers.map((each) => each.buffer.slice(0)));
  });
}

function render({ model, el }) {
  // 光标在这里，一个键就是这里的，不是笔记本的：按两下 d 会删掉整格；Ctrl+S、Shift+Enter 之类还是它的。
  // JupyterLab 在 document 上先听到，看的是收到键的那一个元素
  const keep = ({ target, key, shiftKey, ctrlKey, metaKey, altKey }) => el.contains(target) &&
    target.toggleAttribute("data-lm-suppress-shortcuts", !(ctrlKey || metaKey || altKey || (shiftKey && key === "Enter")));
  window.addEventListener("keydown", keep, true);
  const silence = make("p", { className: "silence", hidden: true, data: { role: "status" } },
    "内核还没有回答：它在忙，就等一等；它重启过，这个网络就不在了，从造网络的那一格起再运行一遍。");
  el.append(silence);
  view(el.appendChild(make("div")), newest(messages(model, (late) => { silence.hidden = !late; })));
  return () => window.removeEventListener("keydown", keep, true);
}

export default { render };
