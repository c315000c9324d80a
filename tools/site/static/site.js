// 页面的外壳：主题，折起代码，找标题，地址里的设置；能动的东西交给各自的模块。

const MODULES = { explorer: "explorer.js", frames: "frames.js", quiz: "quiz.js", inside: "lenet.js" };

// 记住读者的选择；不许存的浏览器里，只在这一页有效
const memory = {
  get(name) { try { return localStorage.getItem(`companion-${name}`); } catch { return null; } },
  set(name, value) { try { localStorage.setItem(`companion-${name}`, value); } catch { /* 存不了就不存 */ } },
};

const $ = (selector) => document.querySelector(selector);

// 地址里 # 后面的设置，如 #c1=12&lr=0.5；没有 = 的是标题，不归这里管。
function settings() {
  const asked = new Set();
  const read = () => new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  return {
    get(name) { asked.add(name); return read().get(name); },
    set(name, value) {
      const now = read();
      if (value == null) now.delete(name); else now.set(name, value);
      const text = now.toString();
      history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
    },
    broken(text) { $("#broken").textContent = text; },
    unknown() { return [...read().keys()].filter((name) => !asked.has(name)); },
  };
}

// 一个能动的东西：mount 把静止的输出换成能动的；不成，静止的放回去，说一句。
async function mount(root, data, page) {
  const still = [...root.childNodes];
  try {
    const module = await import(MODULES[root.dataset.kind]);
    await module.mount(root, data[root.dataset.kind][root.dataset.cell], page);
  } catch (error) {
    const note = document.createElement("p");
    note.className = "failed";
    note.textContent = `这里没有动起来，上面是不会动的样子（${error.message}）。`;
    root.replaceChildren(...still, note);
    console.error(error);
  }
}

function theme() {
  const button = $("#theme"), root = document.documentElement;
  const name = () => { button.textContent = root.dataset.theme === "dark" ? "换成亮色" : "换成暗色"; };
  button.addEventListener("click", () => {
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    memory.set("theme", root.dataset.theme);
  });
  new MutationObserver(name).observe(root, { attributeFilter: ["data-theme"] });  // 系统的主题也会变
  button.hidden = false;
  name();
}

function folding() {
  const button = $("#fold"), sources = document.querySelectorAll("details.source");
  const fold = (folded) => {
    for (const source of sources) source.open = !folded;
    button.textContent = folded ? "展开代码" : "收起代码";
    memory.set("code", folded ? "folded" : "shown");
  };
  button.addEventListener("click", () => fold(button.textContent === "收起代码"));
  button.hidden = sources.length === 0;
  if (memory.get("code") === "folded") fold(true);
  // 打印时代码都在；打印完，折起来的还折着
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...sources].filter((source) => !source.open);
    for (const source of closed) source.open = true;
  });
  addEventListener("afterprint", () => { for (const source of closed) source.open = false; });
}

function contents() {
  const box = $(".contents > details"), items = [...box.querySelectorAll("li")];
  const wide = matchMedia("(min-width: 64rem)");
  const spread = () => { box.open = wide.matches; };  // 窄的屏幕上，目录先折着
  wide.addEventListener("change", spread);
  spread();
  box.addEventListener("click", (event) => { if (event.target.matches("a") && !wide.matches) box.open = false; });
  const find = $("#find"), found = $("#found");
  find.addEventListener("input", () => {
    const words = find.value.trim().toLowerCase();
    for (const item of items) item.hidden = !item.textContent.toLowerCase().includes(words);
    const count = items.filter((item) => !item.hidden).length;
    found.textContent = words ? (count ? `${count} 个标题` : "没有这样的标题") : "";
  });
  find.addEventListener("keydown", (event) => {
    if (event.key === "Enter") items.find((item) => !item.hidden)?.firstElementChild.click();
  });
  find.parentElement.hidden = false;
  follow(items);
}

// 读到哪里，目录里就标出哪里
function follow(items) {
  const links = items.map((item) => item.firstElementChild);
  const headings = links.map((link) => document.getElementById(decodeURIComponent(link.hash.slice(1))));
  const mark = () => {
    const next = headings.findIndex((heading) => heading.getBoundingClientRect().top > 120);
    const here = links[Math.max(0, (next < 0 ? headings.length : next) - 1)];
    for (const link of links) {
      if (link === here) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    }
    const box = $(".contents"), away = here.getBoundingClientRect().top - box.getBoundingClientRect().top;
    if (away < 0 || away > box.clientHeight - 40) box.scrollTop += away - box.clientHeight / 2;
  };
  addEventListener("scroll", mark, { passive: true });
  mark();
}

// 横着放不下的表格和代码，键盘也要滚得动
function scrolling() {
  const boxes = [...document.querySelectorAll(".table, pre, .picture")];
  const observer = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0; else target.removeAttribute("tabindex");
    }
  });
  for (const box of boxes) observer.observe(box);
}

export async function start() {
  theme();
  if (!document.body.dataset.section) return;
  folding();
  contents();
  scrolling();
  const hash = settings(), page = { section: document.body.dataset.section, hash };
  const data = JSON.parse($("#data").textContent);
  for (const root of document.querySelectorAll(".plug[data-kind]")) await mount(root, data, page);
  const unknown = hash.unknown();
  if (unknown.length) hash.broken(`链接里的 ${unknown.join("、")} 这一页不认得：也许是旧的链接，也许少了一截。`);
  if (document.querySelector('script[data-name="formulas.js"]')) await (await import("formulas.js")).typeset();
}
