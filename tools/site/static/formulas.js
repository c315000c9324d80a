// 公式：MathJax 压缩在 mathjax.js 里，解开，运行；只看正文，代码和输出里的 $ 不是公式。

function run(address) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.nonce = document.querySelector("script[nonce]").nonce;
    script.src = address;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`打不开 ${address}`));
    document.head.append(script);
  });
}

export async function typeset() {
  await run("mathjax.js");
  const packed = Uint8Array.from(atob(globalThis.packedMathJax), (letter) => letter.charCodeAt(0));
  delete globalThis.packedMathJax;
  const text = new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  window.MathJax = {
    tex: { inlineMath: [["$", "$"]], displayMath: [["$$", "$$"]] },
    svg: { fontCache: "global", mtextInheritFont: true },
    options: { enableMenu: false, ignoreHtmlClass: "page", processHtmlClass: "text" },
    startup: { typeset: false },
  };
  const address = URL.createObjectURL(new Blob([await text], { type: "text/javascript" }));
  await run(address);
  URL.revokeObjectURL(address);
  await MathJax.startup.promise;
  await MathJax.typesetPromise([...document.querySelectorAll(".text")]);
}
