// 画的和拍的变成网络认得的样子：helpers/data/sketch.py 的做法，逐步相同，那里说了为什么。
// 一张图是 {height, width, values}，0 是黑，1 是白；遮罩的 values 是 0 和 1。

const SIDE = 28, SMALL = 0.2, PAINT = 0.75;

export function prepare(pixels, [height, width], { fill = true, centre = true, cut = true } = {}) {
  const gray = { height, width, values: Float64Array.from(pixels, (byte) => byte / 255) };
  const ground = median(border(gray)), inverted = ground > 0.5;
  const tone = gray.values.map((value) => (inverted ? 1 - value : value));
  const mask = things({ height, width, values: gray.values.map((value) => Math.abs(value - ground)) });
  const whole = fill ? filledUp(mask) : mask;
  const garment = { height, width, values: tone.map((value, n) => (whole.values[n] || !cut ? value : 0)) };
  const isInside = (n) => whole.values[n] && !mask.values[n];
  const line = tone.filter((_, n) => mask.values[n]), inside = tone.filter((_, n) => isInside(n));
  if (inside.length && median(inside) < 0.25 * median(line)) { // 里面是空的，而不是印着深色的花
    const paint = PAINT * median(line);
    garment.values = garment.values.map((value, n) => (isInside(n) ? Math.max(value, paint) : value));
  }
  const after = centre && whole.values.includes(1) ? centred(garment, whole) : square(garment);
  return { before: shrunk(square(gray)), after: shrunk(after), inverted,
           filled: inside.length / Math.max(1, inside.length + line.length) };
}

function median(numbers) {
  const sorted = Float64Array.from(numbers).sort(), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

function border({ height, width, values }) {
  const found = [...values.subarray(0, width), ...values.subarray((height - 1) * width)];
  for (let row = 0; row < height; row++) found.push(values[row * width], values[(row + 1) * width - 1]);
  return found;
}

// 从 start 走得到的各格：chosen 的，也没有走过的；走过的记进 seen
function walk({ height, width }, start, chosen, seen, diagonal) {
  const found = [];
  const visit = (n) => {
    if (seen[n] || !chosen(n)) return;
    seen[n] = 1;
    found.push(n);
  };
  visit(start);
  for (let i = 0; i < found.length; i++) {
    const row = Math.floor(found[i] / width), column = found[i] % width;
    for (let y = Math.max(0, row - 1); y <= Math.min(height - 1, row + 1); y++)
      for (let x = Math.max(0, column - 1); x <= Math.min(width - 1, column + 1); x++)
        if (diagonal || y === row || x === column) visit(y * width + x);
  }
  return found;
}

// 与底色不同的地方，去掉杂点
function things(difference) {
  const least = Math.max(0.04, threshold(difference.values)), seen = new Uint8Array(difference.values.length);
  const pieces = [], mask = { ...difference, values: new Uint8Array(seen.length) };
  const differs = (n) => difference.values[n] > least;
  for (let n = 0; n < seen.length; n++) if (differs(n) && !seen[n]) pieces.push(walk(difference, n, differs, seen, true));
  const largest = pieces.reduce((size, piece) => Math.max(size, piece.length), 0);
  for (const piece of pieces) if (piece.length >= SMALL * largest) for (const n of piece) mask.values[n] = 1;
  return mask;
}

// 封闭的轮廓填满：从四边走不到的都算里面
function filledUp(mask) {
  const { height, width, values } = mask, outside = new Uint8Array(values.length);
  for (let n = 0; n < values.length; n++) {
    const row = Math.floor(n / width), column = n % width;
    const edge = row === 0 || column === 0 || row === height - 1 || column === width - 1;
    if (edge && !outside[n]) walk(mask, n, (k) => !values[k], outside, false);
  }
  return { ...mask, values: outside.map((out) => 1 - out) };
}

// Otsu 的界线，取一半
function threshold(values) {
  const counts = new Float64Array(64), total = values.length;
  for (const value of values) counts[Math.min(63, Math.floor(64 * value))]++;
  const mass = counts.map((count, k) => count * ((k + 0.5) / 64));
  for (let k = 1; k < 64; k++) mass[k] += mass[k - 1];
  let best = 0, most = -1, below = 0;
  counts.forEach((count, k) => {
    below += count;
    const apart = ((mass[63] * below) / total - mass[k]) ** 2 / (below * (total - below));
    if (apart > most) [best, most] = [k, apart]; // 一边没有数时是 NaN，不大于
  });
  return (best + 1) / 64 / 2;
}

// 裁到遮罩的边
function centred(image, { height, width, values }) {
  let [top, bottom, left, right] = [height, 0, width, 0];
  values.forEach((on, n) => {
    if (!on) return;
    const row = Math.floor(n / width), column = n % width;
    [top, bottom, left, right] = [Math.min(top, row), Math.max(bottom, row), Math.min(left, column), Math.max(right, column)];
  });
  const cropped = { height: bottom - top + 1, width: right - left + 1, values: [] };
  for (let row = top; row <= bottom; row++)
    cropped.values.push(...image.values.subarray(row * width + left, row * width + right + 1));
  return square(cropped);
}

// 短的一边两头补黑；补单数行时上、左多一行
function square({ height, width, values }) {
  const side = Math.max(height, width), out = new Float64Array(side * side);
  const top = Math.ceil((side - height) / 2), left = Math.ceil((side - width) / 2);
  for (let row = 0; row < height; row++) for (let column = 0; column < width; column++)
    out[(row + top) * side + column + left] = values[row * width + column];
  return { height: side, width: side, values: out };
}

// 缩到 28×28 的字节；先横后竖，各一遍
function shrunk({ height: side, values }) {
  const content = Float32Array.from(values);
  const small = side === SIDE ? content : across(across(content, side), side);
  return Uint8Array.from(small, (value) => Math.min(255, Math.max(0, Math.round(255 * value))));
}

// 每一行 side 个数缩成 28 个，行与列再对调：两遍就回到原来的方向
function across(content, side) {
  const rows = content.length / side, out = new Float32Array(SIDE * rows), scale = Math.fround(side / SIDE);
  const reach = Math.max(1, scale);
  for (let i = 0; i < SIDE; i++) {
    const centre = Math.fround(scale * (i + 0.5));
    const first = Math.max(0, Math.floor(centre - reach + 0.5)), last = Math.min(side, Math.floor(centre + reach + 0.5));
    const weights = Array.from({ length: last - first }, (_, j) => Math.max(0, 1 - Math.abs(first + j - centre + 0.5) / reach));
    const total = weights.reduce((a, b) => a + b);
    for (let row = 0; row < rows; row++) {
      let sum = 0;
      for (let j = first; j < last; j++) sum += content[row * side + j] * (weights[j - first] / total);
      out[i * rows + row] = sum;
    }
  }
  return out;
}
