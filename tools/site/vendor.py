"""网站和它的测试要的两个 npm 包：下载一次，核对指纹，放在 .venv/npm。`python tools/site/vendor.py` 下载还没有的。"""

import base64
import hashlib
import io
import os
import sys
import tarfile
import urllib.request
from pathlib import Path
from typing import NamedTuple

from helpers.experiments.atomic import writing
from helpers.paths import ROOT

NPM = ROOT / ".venv" / "npm"
# npm 自己的环境变量，可以指向国内镜像；指纹在这里，从哪里来都一样
REGISTRY = os.environ.get("NPM_CONFIG_REGISTRY", "https://registry.npmjs.org").rstrip("/")
SECONDS = 120  # 一次下载至多等多久


class Package(NamedTuple):
    """一个 npm 包。sha512: registry 写的那一个，base64；files: 要里面的哪几个文件。"""

    name: str
    version: str
    sha512: str
    files: tuple[str, ...]

    def path(self, file: str) -> Path:
        """一个文件放在哪里；没有就抛出 FileNotFoundError，说怎样下载。"""
        path = NPM / f"{self.name}-{self.version}" / file
        if not path.exists():
            raise FileNotFoundError(f"没有 {path}：运行 python tools/site/vendor.py，从 {REGISTRY} 下载一次")
        return path


MATHJAX = Package(
    "mathjax", "3.2.2", "Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw==",
    ("es5/tex-svg-full.js", "LICENSE"))
AXE = Package(
    "axe-core", "4.14.1", "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    ("axe.min.js",))  # 只有测试用


def fetch(package: Package) -> None:
    """下载一个包，取出要的文件。连不上时抛出 OSError，指纹不对时抛出 ValueError，都什么也没有写下。"""
    address = f"{REGISTRY}/{package.name}/-/{package.name}-{package.version}.tgz"
    with urllib.request.urlopen(address, timeout=SECONDS) as answer:
        archive = answer.read()
    if base64.b64encode(hashlib.sha512(archive).digest()).decode() != package.sha512:
        raise ValueError(f"{address} 与记下的指纹不符，没有用它")
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for name in package.files:
            member = files.extractfile(f"package/{name}")
            assert member  # 指纹对了，里面就有
            with writing(NPM / f"{package.name}-{package.version}" / name) as file:
                file.write(member.read())


def main() -> int:
    """命令行入口。"""
    for package in (MATHJAX, AXE):
        try:
            for name in package.files:
                package.path(name)
        except FileNotFoundError:
            try:
                fetch(package)
            except (OSError, ValueError) as error:
                print(f"没有下载到 {package.name} {package.version}：{error}\n"
                      "网站里的公式和网站的测试要它，只要下载一次；连上网再运行这条命令。"
                      "registry.npmjs.org 打不开时，可以换一个镜像：\n"
                      "NPM_CONFIG_REGISTRY=https://registry.npmmirror.com python tools/site/vendor.py", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
