"""png.py：大小写在里面，变小了眼睛看不出来。"""

import io

import numpy as np
import pytest
from PIL import Image

from helpers.pictures import canvas
from helpers.pictures.png import DPI, PAGE, bundle, encode, page_width, squeeze


def exact(png):
    """每一个像素，(H, W, 3)。"""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def noise(height, width):
    """每个像素一种颜色。"""
    made = np.random.default_rng(0).integers(0, 256, (height, width, 4), dtype=np.uint8)
    made[..., 3] = 255
    return made


@pytest.mark.parametrize("dpi, width", [(PAGE, 60), (DPI, 30), (3 * PAGE, 20)])
def test_more_pixels_are_as_wide_on_the_page(dpi, width):
    made = noise(4, 60)
    png = encode(made, dpi)
    assert page_width(png) == page_width(squeeze(png)) == width and (exact(png) == made[..., :3]).all()
    data, metadata = bundle(png, "图")
    assert data == {"image/png": png, "text/plain": "图"} and metadata == {"image/png": {"width": width}}


def test_a_foreign_png_is_as_wide_as_its_pixels():
    file = io.BytesIO()
    Image.new("RGB", (70, 3)).save(file, "PNG")
    assert page_width(file.getvalue()) == 70


@pytest.mark.parametrize("colors", [1, 2, 255, 256])
def test_up_to_256_colors_are_kept_exactly(colors):
    made = noise(16, 16).reshape(-1, 4)[np.arange(40 * 40) % colors].reshape(40, 40, 4)
    assert (exact(squeeze(encode(made, DPI))) == made[..., :3]).all()


def test_of_more_colors_the_frequent_ones_are_kept_and_none_is_far_off():
    """一条渐变（一千种颜色），和一大片白、一小块红。"""
    made = np.full((100, 1000, 4), 255, np.uint8)
    ramp = np.arange(1000)
    made[50:, :, :3] = np.stack((ramp // 4, 255 - ramp // 4, ramp % 4 * 10), axis=1)
    made[:2, :2, :3] = (255, 0, 0)
    small = squeeze(encode(made, DPI))
    away = np.abs(exact(small) - made[..., :3]).max(2)
    assert Image.open(io.BytesIO(small)).mode == "P" and (away[2:50] == 0).all() and (away[:2, :2] == 0).all()
    assert away.max() <= 12  # 调色板里的邻居


def test_a_picture_becomes_smaller_and_looks_the_same():
    with canvas(4, 3, "字和线") as drawn:
        axes = drawn.figure.subplots()
        for k in range(8):
            axes.plot(np.sin(np.arange(50) / (k + 1)), label=f"第 {k} 条")
        axes.legend()
    small = drawn._repr_mimebundle_()[0]["image/png"]
    away = np.abs(exact(small) - exact(drawn.png))
    assert len(small) < 0.6 * len(drawn.png) and away.max() <= 32 and away.mean() < 0.5
