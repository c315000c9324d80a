// 网络看的是哪里：helpers/network/where.py 的两种做法。values 是 forward 的一次结果，label 是哪一类；返回图像那么大的一张。

import { forward, gradient, softmax } from "forward.js";

// Grad-CAM：最后一个还有高和宽的一步，各通道乘以梯度的平均数，加起来，负的变成 0，放大
export function gradCam(net, values, label) {
  const k = values.map(({ shape }) => shape.length > 1 && Math.min(...shape.slice(1)) > 1).lastIndexOf(true);
  const { shape: [sheets, ...size], content } = values[k], area = size[0] * size[1], small = new Float64Array(area);
  const slopes = gradient(net, values, label, k);
  for (let c = 0; c < sheets; c++) {
    const weight = slopes.subarray(c * area, (c + 1) * area).reduce((a, b) => a + b) / area;
    for (let n = 0; n < area; n++) small[n] += weight * content[c * area + n];
  }
  return enlarged(small.map((value) => Math.max(0, value)), size, values[0].shape.slice(1));
}

// 双线性
function enlarged(small, [rows, columns], [height, width]) {
  const between = (i, from, to) => {
    const at = Math.max(0, ((i + 0.5) * from) / to - 0.5), low = Math.floor(at);
    return [low, Math.min(low + 1, from - 1), at - low];
  };
  return Float32Array.from({ length: height * width }, (_, n) => {
    const [top, bottom, y] = between(Math.floor(n / width), rows, height);
    const [left, right, x] = between(n % width, columns, width);
    const along = (row) => small[row * columns + left] * (1 - x) + small[row * columns + right] * x;
    return along(top) * (1 - y) + along(bottom) * y;
  });
}

// 遮挡：遮住一处，概率少了多少；一个像素是盖过它的各个方块的平均
export function occlusion(net, values, label) {
  const { shape, content } = values[0], [, height, width] = shape;
  const window = Math.floor(Math.min(height, width) / 4), stride = Math.max(1, Math.floor(window / 3));
  const given = (content) => softmax(forward(net, { shape, content }).at(-1))[label], before = given(content);
  const heat = new Float32Array(height * width), count = new Float32Array(height * width);
  for (const row of starts(height, window, stride)) for (const column of starts(width, window, stride)) {
    const covered = [], left = content.slice();
    for (let y = row; y < row + window; y++) for (let x = column; x < column + window; x++) covered.push(y * width + x);
    for (const n of covered) left[n] = 0;
    const drop = before - given(left);
    for (const n of covered) {
      heat[n] += drop;
      count[n] += 1;
    }
  }
  return heat.map((drop, n) => drop / count[n]);
}

// 方块从哪里开始：每次移 stride，最后一个贴着边
function starts(size, window, stride) {
  const found = [];
  for (let start = 0; start < size - window; start += stride) found.push(start);
  return [...found, size - window];
}
