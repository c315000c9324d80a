"""设置的名字和值，怎样写给读者看。"""

import json
from typing import Any

from helpers.arguments import number

_LABELS = {"batch_size": "批量", "size": "输入边长", "images": "训练图片", "lr": "学习率", "num_epochs": "轮数",
           "init": "初始化", "params": "参数个数", "folder": "图片文件夹", "num_classes": "类别数",
           "processes": "进程数", "dtype": "精度", "seed": "种子"}


def label(name: str) -> str:
    """一项设置的中文名；宽度用网络函数里的名字。"""
    return _LABELS.get(name, name)


def show(value: Any) -> str:
    """一项设置的值。"""
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if type(value) is int else _text(value).replace(" ", "")


def differences(recipe: dict[str, Any], book: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """与书上不同的几项：名字到 (书上的, 这次的)。"""
    return {name: (book[name], recipe[name]) for name in book if name in recipe and not _same(book[name], recipe[name])}


def describe_changes(recipe: dict[str, Any], book: dict[str, Any]) -> str:
    """这次的几项，如「批量 16，轮数 3」，用作一次训练的名字；与书上相同就是空的。"""
    return "，".join(f"{label(name)} {show(now)}" for name, (_, now) in differences(recipe, book).items())


def describe_differences(recipe: dict[str, Any], book: dict[str, Any]) -> str:
    """写成一句话里的一段，如「批量 16 而不是 256，轮数 3 而不是 10」；没有就是空的。"""
    return "，".join(f"{label(name)} {show(now)} 而不是 {show(was)}"
                    for name, (was, now) in differences(recipe, book).items())


def plain(value: Any) -> Any:
    """与存进 JSON 再读出来的一样：元组变成列表，函数和类变成它的名字，别的写不下的变成它的文字。"""
    return json.loads(json.dumps(value, default=_text))


def _text(value: Any) -> str:
    return getattr(value, "__name__", str(value))


def _same(a: Any, b: Any) -> bool:
    # 滑块停在最近的刻度上，学习率差千分之几算相同
    if (isinstance(a, float) or isinstance(b, float)) and number(a) is not None and number(b) is not None:
        return abs(a - b) <= 0.005 * abs(a)
    return a == b
