"""随机的、多半不对的东西：值、改动、训练的文件、存档、命令行。"""

import numpy as np
import torch
from hypothesis import strategies as st

from helpers.experiments.run import Finding, Run
from helpers.training.loop import Point

# 文件名和终端里什么字都可能有，不成字的也有
words = st.text(max_size=8) | st.sampled_from(["", "None", "nan", "\udcff", "a/b", "$x$", "图 片", "x" * 300])
numbers = st.one_of(
    st.integers(-3, 40), st.integers(), st.floats(), st.sampled_from([0, 1, 28, 224, 1e300, 10**400, -1, 2**63]),
    st.builds(np.int64, st.integers(-3, 300)), st.builds(np.float32, st.floats(-2, 2)),
    st.builds(torch.tensor, st.integers(-3, 300) | st.floats(-2, 2)))
simple = st.none() | st.booleans() | numbers | words | st.complex_numbers() | st.binary(max_size=4)
values = st.recursive(simple, lambda each: st.lists(each, max_size=3) | st.tuples(each, each) | st.dictionaries(
    words, each, max_size=2), max_leaves=6)

# JSON 写得下的
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=6), each, max_size=3), max_leaves=5)


def places(tree, path=()):
    """一棵 JSON 树里的每个位置：从根走到那里的下标。"""
    yield path
    if isinstance(tree, dict | list):
        for key, each in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from places(each, (*path, key))


@st.composite
def mutated(draw, tree, value=json_values, most=3):
    """改了几处的 tree：换掉、删掉、多出来。tree 自己不变。"""
    for _ in range(draw(st.integers(1, most))):
        path = draw(st.sampled_from(list(places(tree))))
        tree = _changed(tree, path, draw(st.sampled_from(["put", "drop", "add"])), draw(value))
    return tree


def _changed(tree, path, action, value):
    if not path:
        return value if action == "put" else tree
    copy, (key, *rest) = type(tree)(tree), path
    if rest:
        copy[key] = _changed(copy[key], rest, action, value)
    elif action == "put":
        copy[key] = value
    elif action == "drop":
        del copy[key]
    elif isinstance(copy, dict):
        copy[f"{key}_"] = value
    else:
        copy.insert(key, value)
    return copy


finite = st.floats(allow_nan=False, allow_infinity=False)
accuracies = st.floats(0, 1)
points = st.builds(
    Point, epoch=st.floats(0, 1e6), loss=finite, train_acc=accuracies, test_acc=st.none() | accuracies,
    lr=st.none() | finite, epoch_loss=st.none() | finite, epoch_acc=st.none() | accuracies)
recipes = st.fixed_dictionaries(
    {"batch_size": st.integers(1, 1_000), "size": st.integers(1, 300), "images": st.integers(1, 60_000),
     "lr": st.floats(1e-6, 100), "num_epochs": st.integers(1, 100), "init": st.sampled_from(["xavier", "other"]),
     "params": st.integers(0), "macs": st.integers(0)},
    optional={"c1": st.integers(0, 99), "folder": words, "act": words, "arch": st.lists(st.integers(), max_size=3)})
runs = st.builds(
    Run, network=words, recipe=recipes, book_recipe=st.just({}) | recipes, points=st.lists(points, max_size=4),
    ended=st.sampled_from(["done", "interrupted", "diverged", "memory", "error"]), device=st.just("cpu"),
    dtype=st.just("float32"), seed=st.none() | st.integers(0, 2**63 - 1), started=st.just("2026-01-01T00:00:00.000"),
    seconds=st.dictionaries(st.sampled_from(["data", "steps", "evaluation", "drawing"]), st.floats(0, 1e6)),
    memory=st.fixed_dictionaries(dict.fromkeys(("forecast", "largest_batch", "peak"), st.integers(0, 10**12))),
    classes=st.integers(2, 1_000), saturating=st.booleans(), final_lr=st.none() | finite,
    findings=st.lists(st.builds(Finding, st.sampled_from(["plateau", "odd"]), words, words), max_size=2).map(tuple))

# 命令行：选项和值乱配
options = st.sampled_from(["--lr", "--size", "--c1", "--h1", "--ratio", "--images", "--batch-size", "--num-epochs",
                           "--init", "--window", "--activation", "--conv-arch", "--seed", "--dtype", "--data", "--full",
                           "--resume", "--sync-batch-norm", "--growth-rate", "--", "--x", "-h1", "--lr=0.1", "--c1="])
arguments = options | words | numbers.map(str) | values.map(repr)
command_lines = st.one_of(
    st.lists(arguments, max_size=6),
    st.tuples(st.sampled_from(["7.1", "7.3", "9.9", ""]), st.lists(arguments, max_size=6)).map(
        lambda found: ["run", found[0], *found[1]]),
    st.tuples(st.sampled_from(["7.1", "7.7"]), st.lists(st.tuples(options, arguments), max_size=3)).map(
        lambda found: ["run", found[0], *(word for pair in found[1] for word in pair)]))
