// 由滑块控制的图：每个位置的图都画好了，这里只挑出一张。几张并排存成一张，露出其中一张。

import { make } from "dom.js";

export function mount(root, data) {
  const sliders = data.controls.map((control) => slider(control, (position) => move(control, position)));
  const place = data.controls.map((control) => control.start);
  const shown = frame(data), message = make("p", { className: "message", data: { role: "status" } });

  // 没有画过的位置：别的滑块回到起点
  function move(control, position) {
    const k = data.controls.indexOf(control);
    place[k] = position;
    if (!data.frames[place.join()]) {
      data.controls.forEach((other, i) => { if (i !== k) place[i] = other.start; });
    }
    sliders.forEach(({ set }, i) => set(place[i]));
    show();
  }

  function show() {
    const [picture, text] = data.frames[place.join()];
    message.textContent = picture === null ? `✗ ${text}` : "";
    if (picture !== null) shown.show(picture, text);
  }

  show();
  root.replaceChildren(make("div", { className: "frames" },
                            make("div", { className: "sliders" }, ...sliders.map(({ node }) => node)),
                            message, make("div", { className: "box" }, shown.node),
                            data.note && make("p", { className: "faint" }, data.note)));
}

// 一个滑块：数字是滑块，别的是选项，开关打勾；moved(第几个值)
function slider(control, moved) {
  const id = `${control.name}-${crypto.randomUUID()}`, label = make("label", { htmlFor: id }, control.label);
  const readout = make("output", { htmlFor: id });
  const input = { range, select, check }[control.kind](control, id);
  input.addEventListener("input", () => moved(control.kind === "check" ? Number(input.checked) : Number(input.value)));
  const set = (position) => {
    if (control.kind === "check") input.checked = position === 1;
    else input.value = position;
    if (control.kind !== "range") return;
    readout.textContent = control.values[position];
    input.setAttribute("aria-valuetext", control.values[position]);
  };
  set(control.start);
  return { node: make("div", { className: "slider" }, label, input, control.kind === "range" ? readout : null), set };
}

const range = ({ values }, id) => make("input", { type: "range", id, min: 0, max: values.length - 1, step: 1 });

const check = (_, id) => make("input", { type: "checkbox", id });

const select = ({ values }, id) =>
  make("select", { id }, ...values.map((value, i) => make("option", { value: i }, value)));

// 露出一张图的框；并排的几张解好了才换，不闪
function frame({ sheets, across, count, width, height }) {
  const node = make("div", { className: "frame", style: { "--width": `${width}px`, "aspect-ratio": `${width} / ${height}` } });
  const images = sheets.map(() => null);
  let wanted = null;

  async function show(picture, alt) {
    wanted = picture;
    const sheet = Math.floor(picture / across), beside = Math.min(across, count - sheet * across);
    const image = images[sheet] ??= make("img", { src: sheets[sheet], style: { width: `${100 * beside}%` } });
    await image.decode().catch(() => {});
    if (wanted !== picture) return;
    image.alt = alt;
    image.style.left = `${-100 * (picture % across)}%`;
    node.replaceChildren(image);
  }
  return { node, show };
}
