// 模块的文字放在页面里；file:// 里不能导入文件，所以变成 Blob，互相用名字导入。
{
  const imports = {};
  for (const { dataset, textContent } of document.querySelectorAll('script[type="text/esm"]')) {
    imports[dataset.name] = URL.createObjectURL(new Blob([textContent], { type: "text/javascript" }));
  }
  const map = document.createElement("script");
  map.type = "importmap";
  map.nonce = document.currentScript.nonce;
  map.textContent = JSON.stringify({ imports });
  document.head.append(map);
  window.mounted = import("site.js").then((site) => site.start());
}
