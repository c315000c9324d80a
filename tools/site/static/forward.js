// 一个网络的前向：每一层算出什么，一格从哪几项来，梯度怎样退回一层。都是普通的循环。
// 一层是 {kind, …}，种类和大小来自真的网络，见 tools/site/lenet.py；张量是 {shape, content}，没有批量那一维。

const tensor = (...shape) => ({ shape, content: new Float32Array(shape.reduce((a, b) => a * b, 1)) });

// 张量的一格：place 是 [张, 行, 列]，向量是 [第几个]
const flat = ({ shape: [, height, width] }, [sheet, row, column]) =>
  row === undefined ? sheet : (sheet * height + row) * width + column;

export const at = (X, place) => X.content[flat(X, place)];

// 输出第 i 行的窗口：窗口的第几行到第几行在图像里，窗口的第 0 行在图像的第几行
function span(i, window, stride, padding, size) {
  const start = i * stride - padding;
  return [Math.max(0, -start), Math.min(window, size - start), start];
}

const slid = (size, window, stride, padding) => Math.floor((size + 2 * padding - window) / stride) + 1;

// at: 在窗口里的第几行、第几列，没有窗口就没有
const input = (value, weight, place, at) =>
  ({ role: "input", value, weight, contribution: value * (weight ?? 1), place, at });

const bias = (value) => ({ role: "bias", value, weight: null, contribution: value, place: null });

// ---------- 各种层 ----------

const convolution = {
  forward({ shape: [outs, ins, kernel, across], stride, padding, weight, bias }, { shape: [, height, width], content }) {
    const rows = slid(height, kernel, stride[0], padding[0]), columns = slid(width, across, stride[1], padding[1]);
    const Y = tensor(outs, rows, columns);
    let n = 0;
    for (let out = 0; out < outs; out++) for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) {
      const [top, bottom, y] = span(row, kernel, stride[0], padding[0], height);
      const [left, right, x] = span(column, across, stride[1], padding[1], width);
      let sum = bias[out];
      for (let c = 0; c < ins; c++) for (let i = top; i < bottom; i++) {
        const pixels = (c * height + y + i) * width + x, weights = ((out * ins + c) * kernel + i) * across;
        for (let j = left; j < right; j++) sum += content[pixels + j] * weight[weights + j];
      }
      Y.content[n++] = sum;
    }
    return Y;
  },
  terms(layer, X, [out, row, column]) {
    const { shape: [, ins, kernel, across], stride, padding, weight } = layer, [, height, width] = X.shape, found = [];
    const [top, bottom, y] = span(row, kernel, stride[0], padding[0], height);
    const [left, right, x] = span(column, across, stride[1], padding[1], width);
    for (let c = 0; c < ins; c++) for (let i = top; i < bottom; i++) for (let j = left; j < right; j++) {
      const place = [c, y + i, x + j];
      found.push(input(at(X, place), weight[((out * ins + c) * kernel + i) * across + j], place, [i, j]));
    }
    return [...found, bias(layer.bias[out])];
  },
};

const mean = {
  forward({ window: [kernel, across], stride }, X) {
    const [sheets, height, width] = X.shape;
    const rows = slid(height, kernel, stride[0], 0), columns = slid(width, across, stride[1], 0);
    const Y = tensor(sheets, rows, columns);
    let n = 0;
    for (let c = 0; c < sheets; c++) for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) {
      let sum = 0;
      for (let i = 0; i < kernel; i++) for (let j = 0; j < across; j++)
        sum += at(X, [c, row * stride[0] + i, column * stride[1] + j]);
      Y.content[n++] = sum / (kernel * across);
    }
    return Y;
  },
  terms({ window: [kernel, across], stride }, X, [c, row, column]) {
    const found = [];
    for (let i = 0; i < kernel; i++) for (let j = 0; j < across; j++) {
      const place = [c, row * stride[0] + i, column * stride[1] + j];
      found.push(input(at(X, place), 1 / (kernel * across), place, [i, j]));
    }
    return found;
  },
};

const sigmoid = {
  forward: (layer, { shape, content }) => ({ shape, content: content.map((x) => 1 / (1 + Math.exp(-x))) }),
  terms: (layer, X, place, Y) => [{ ...input(at(X, place), null, place), contribution: at(Y, place) }],
  backward: (layer, X, Y, gradient) => gradient.map((g, n) => g * Y.content[n] * (1 - Y.content[n])),
};

const flatten = {
  forward: (layer, { content }) => ({ shape: [content.length], content }),
  terms(layer, X, [n]) {
    const [, height, width] = X.shape;
    return [input(X.content[n], 1, [Math.floor(n / (height * width)), Math.floor(n / width) % height, n % width])];
  },
  backward: (layer, X, Y, gradient) => gradient,
};

const linear = {
  forward({ shape: [outs, ins], weight, bias }, { content }) {
    const Y = tensor(outs);
    for (let out = 0; out < outs; out++) {
      let sum = bias[out];
      for (let n = 0; n < ins; n++) sum += content[n] * weight[out * ins + n];
      Y.content[out] = sum;
    }
    return Y;
  },
  terms({ shape: [, ins], weight, bias: shift }, X, [out]) {
    return [...Array.from(X.content, (value, n) => input(value, weight[out * ins + n], [n])), bias(shift[out])];
  },
  backward({ shape: [outs, ins], weight }, X, Y, gradient) {
    const { content } = tensor(ins);
    for (let n = 0; n < ins; n++) for (let out = 0; out < outs; out++) content[n] += weight[out * ins + n] * gradient[out];
    return content;
  },
};

const KINDS = { convolution, mean, sigmoid, flatten, linear };

// ---------- 一个网络 ----------

// 各层，带上自己的权重；weights 是全部权重，一层接一层，先权重后偏置
export function network(layers, weights) {
  let start = 0;
  const take = (count) => weights.subarray(start, (start += count));
  return layers.map((layer) => layer.shape
    ? { ...layer, weight: take(layer.shape.reduce((a, b) => a * b, 1)), bias: take(layer.shape[0]) } : layer);
}

// 图像和每一层的输出
export function forward(net, X) {
  const values = [X];
  for (const layer of net) values.push(KINDS[layer.kind].forward(layer, values.at(-1)));
  return values;
}

// 第 k 步的 place 这一格，由上一步的哪几项算来；图像是第 0 步，没有项
export const terms = (net, values, k, place) =>
  k ? KINDS[net[k - 1].kind].terms(net[k - 1], values[k - 1], place, values[k]) : [];

// 第 label 个输出对第 k 步的每一格的梯度；只退得过最后的几层：卷积和汇聚没有写怎样退
export function gradient(net, values, label, k) {
  let found = Float32Array.from(values.at(-1).content, (_, n) => Number(n === label));
  for (let i = net.length; i > k; i--) found = KINDS[net[i - 1].kind].backward(net[i - 1], values[i - 1], values[i], found);
  return found;
}

export function softmax({ content }) {
  const highest = Math.max(...content), exps = Array.from(content, (x) => Math.exp(x - highest));
  const total = exps.reduce((a, b) => a + b);
  return exps.map((x) => x / total);
}
