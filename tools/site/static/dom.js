// 各个模块共用的：造一个元素。文字都用 textContent，数据里的 < 不会变成标签。

export function make(tag, props = {}, ...children) {
  const { data, on, style, ...rest } = props;
  const node = Object.assign(document.createElement(tag), rest);
  for (const [name, value] of Object.entries(data ?? {})) node.setAttribute(name, value);
  for (const [name, action] of Object.entries(on ?? {})) node.addEventListener(name, action);
  for (const [name, value] of Object.entries(style ?? {})) node.style.setProperty(name, value);
  node.append(...children.filter((child) => child != null));
  return node;
}

export const button = (text, click, props = {}) => make("button", { type: "button", on: { click }, ...props }, text);

// 一段文字，里面 `这样` 的是代码
export function prose(text) {
  return text.split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part));
}
