"""东西放在哪里：笔记本、数据、字体、官方结果、读者的训练。"""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parent  # 仓库
NOTEBOOKS = ROOT / "notebooks"
FASHION_MNIST = PACKAGE / "data" / "fashion_mnist"
FONT = PACKAGE / "pictures" / "fonts" / "NotoSansSC-GB2312.otf"
REFERENCE_RUNS = PACKAGE / "book" / "reference_runs.json"


def runs_folder() -> Path:
    """训练存在哪里：环境变量 COMPANION_RUNS（~ 是自己的主目录），没有就是仓库里的 runs/。"""
    return at_home(os.environ.get("COMPANION_RUNS") or ROOT / "runs")


def at_home(path: Path | str) -> Path:
    """开头的 ~ 换成主目录；没有那个用户的照原样，后面自会说没有这个文件夹。里面有空字符的抛出 ValueError。"""
    if "\0" in str(path):  # 各版 Python 说得不同，都是英文
        raise ValueError("路径里有空字符（\\0），没有这样的路径；换一条。")
    return Path(os.path.expanduser(path))
