"""canvas.py：一扇门，还原，中文，表格。"""

import subprocess
import sys
import threading

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.colors import to_hex, to_rgb
from support.pixels import pixels

from helpers import paths
from helpers.pictures import Picture, canvas
from helpers.pictures.canvas import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PATH_COLORS,
    RED,
    SERIES,
    kind_color,
    table_picture,
)
from helpers.pictures.png import PAGE, page_width

LETTERS = "损失精度轮官方训练测试学习率✓✗→×"


def test_inside_there_is_a_figure_and_afterwards_a_picture():
    with canvas(3, 2, "一条线") as drawn:
        drawn.figure.subplots().plot([1, 2, 4])
        assert not hasattr(drawn, "png")
    assert isinstance(drawn, Picture) and not hasattr(drawn, "figure")
    assert pixels(drawn.png).shape == (2 * PAGE, 3 * PAGE, 3) and pixels(drawn.png).std() > 5
    data, metadata = drawn._repr_mimebundle_()
    assert data["text/plain"] == repr(drawn) == "〔图：一条线〕"
    assert metadata["image/png"]["width"] == page_width(data["image/png"]) == 3 * PAGE


def test_the_title_may_come_late():
    with canvas(1, 1, "还不知道") as drawn:
        drawn.title = "知道了"
    assert drawn.title == "知道了"


def test_settings_are_restored():
    before = dict(mpl.rcParams)
    with canvas(1, 1, "") as drawn:
        assert mpl.rcParams["font.family"] != before["font.family"]
    assert dict(mpl.rcParams) == before and drawn.png


def test_an_exception_restores_the_settings_too_and_leaves_no_picture():
    before = dict(mpl.rcParams)
    with pytest.raises(ZeroDivisionError), canvas(1, 1, "") as drawn:
        1 / 0  # noqa: B018
    assert dict(mpl.rcParams) == before and not hasattr(drawn, "png")


def test_two_threads_do_not_mix_their_settings():
    """一个线程还在画，另一个也来画；先来的先走，后来的还在画。"""
    before, families, inside, leave = dict(mpl.rcParams), [], threading.Event(), threading.Event()

    def other():
        with canvas(1, 1, "后来的"):
            inside.set()
            leave.wait(10)
            families.append(mpl.rcParams["font.family"])
    thread = threading.Thread(target=other)
    with canvas(1, 1, "先来的"):
        ours = mpl.rcParams["font.family"]
        thread.start()
        inside.wait(0.2)
    leave.set()
    thread.join()
    assert dict(mpl.rcParams) == before and families == [ours]


def test_a_layout_engine_moves_the_axes():
    def drawn(layout):
        with canvas(3, 2, "", layout=layout) as made:
            made.figure.subplots().set_ylabel("一\n二\n三")
        return made.png

    assert len({drawn(None), drawn("tight"), drawn("constrained")}) == 3


def test_every_chinese_glyph_is_its_own():
    images = set()
    for letter in LETTERS:
        with canvas(0.5, 0.5, letter) as drawn:
            drawn.figure.text(0.2, 0.2, letter)
        images.add(drawn.png)
    assert len(images) == len(LETTERS)  # 空方框会彼此相同


def test_the_font_is_ours_even_where_the_machine_has_a_namesake():
    with canvas(1, 1, ""):
        first, _ = mpl.rcParams["font.family"]
        assert font_manager.findfont(first, fallback_to_default=False) == str(paths.FONT)
    assert font_manager.get_font(paths.FONT).family_name != first


@pytest.mark.slow
def test_pyplot_is_never_needed():
    code = """
import sys
from helpers.pictures import canvas
with canvas(1, 1, "图") as drawn:
    drawn.figure.text(0, 0, "图")
assert drawn.png and "matplotlib.pyplot" not in sys.modules
"""
    assert subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], timeout=180).returncode == 0


def test_kinds_have_colors_and_unknown_ones_share_one():
    assert len({kind_color(kind) for kind in ("conv", "linear", "pool", "other")}) == 4
    assert kind_color("norm") == kind_color("other")


def rgb(colors):
    return np.array([to_rgb(color) for color in colors]) * 255


def test_one_color_has_one_meaning():
    """比较用的几种彼此不同，也不是有固定意思的；框的底和路径的也都不同。"""
    for group in ([*SERIES, BLUE, ORANGE, GREEN, RED, GREY],
                  [*map(kind_color, ("conv", "linear", "pool", "other")), *PATH_COLORS]):
        away = np.linalg.norm(rgb(group)[:, None] - rgb(group)[None], axis=2) + 1_000 * np.eye(len(group))
        assert away.min() > 30


def test_compared_things_take_the_series():
    with canvas(1, 1, "") as drawn:
        lines = drawn.figure.subplots().plot([1, 2], np.eye(2))
        assert [line.get_color() for line in lines] == list(SERIES[:2])
        assert to_hex("C1") == SERIES[1]


def table(columns=2, **options):
    return table_picture([("", *"甲" * (columns - 1)), ("乙", *"丙" * (columns - 1))], "表", **options)


def test_only_marked_cells_are_orange():
    def colorful(**options):
        image = pixels(table(**options).png)
        return image.max(2) - image.min(2) > 60

    assert not colorful().any()
    found = colorful(marked={(1, 1)})
    height, width = found.shape
    ys, xs = found.nonzero()
    assert ys.min() > height / 2 and xs.min() > width / 2  # 第二行第二列


def test_a_table_grows_with_what_it_holds():
    def size(**options):
        return pixels(table(**options).png).shape[:2]

    height, width = size()
    assert size(columns=60)[0] == height and size(columns=60)[1] > width
    assert size(notes=["短"])[0] > height
    assert size(notes=["长" * 200])[0] - height > 2 * (size(notes=["短"])[0] - height)  # 折成几行


def test_long_cells_are_wrapped():
    def shape(text):
        return pixels(table_picture([("", "头"), ("甲", text)], "表", widest=20).png).shape[:2]

    short, long = shape("短"), shape("长" * 35)
    assert long[1] == short[1] and long[0] - short[0] == pytest.approx(3 * 16, abs=2)  # 一行十个字，四行
    assert shape("1234567 " * 4)[0] - short[0] == pytest.approx(16, abs=2)  # 一行两个数，不拆开
    assert shape("12345678901 " * 4)[0] == long[0]  # 一行一个
    assert shape("1" * 70)[0] == long[0]  # 太长的照样拆


def test_long_notes_stay_inside():
    height = len(pixels(table().png))
    below = pixels(table(notes=["长，" * 100]).png)[height:]
    assert (below[:, -2:] == 255).all() and below.std() > 5


def test_something_may_be_drawn_above_a_table():
    given = []

    def above(figure):
        given.append(figure)
        figure.subplots().plot([1, 2])

    image, bare = pixels(table(above=above).png), pixels(table().png)
    assert len(given) == 1 and image.shape[0] > bare.shape[0] + 300
    assert np.ptp(image[:300]) > 200
