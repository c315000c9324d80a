// 画第一笔之前：读者选过的主题，没有选过就跟着系统。
{
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try { return localStorage.getItem("companion-theme"); } catch { return null; }  // 有的浏览器不许本地的页面存东西
  };
  const paint = () => { document.documentElement.dataset.theme = chosen() ?? (dark.matches ? "dark" : "light"); };
  dark.addEventListener("change", paint);
  paint();
}
