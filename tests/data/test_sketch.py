"""sketch.py：填满、居中、反色、抠出来，对着知道答案的画；测试图像整理过还是它自己。"""

import numpy as np
import pytest
import torch
from scipy import ndimage

from helpers import fashion_mnist
from helpers.data.sketch import prepare


@pytest.fixture(scope="module")
def garments():
    return fashion_mnist(device="cpu")[1].X[:200, 0]


def blank(height=112, width=112, value=0):
    return np.full((height, width), value, np.uint8)


def frame(image, top, left, bottom, right, thick=6, value=255):
    """一个方框的轮廓。"""
    image[top:bottom, left:right] = value
    image[top + thick:bottom - thick, left + thick:right - thick] = image[0, 0]
    return image


def box(after):
    """亮的地方的边界：(上, 左, 下, 右)，下和右不在内。"""
    rows, columns = np.flatnonzero((after > 20).any(1)), np.flatnonzero((after > 20).any(0))
    return rows[0], columns[0], rows[-1] + 1, columns[-1] + 1


@pytest.mark.parametrize("place", [(5, 5), (40, 10), (0, 60), (52, 52)])
def test_the_same_drawing_anywhere_is_the_same_image(place):
    top, left = place
    made = prepare(frame(blank(), top, left, top + 60, left + 40))
    centre = prepare(frame(blank(), 26, 36, 86, 76))
    assert torch.equal(made.after, centre.after)
    top, left, bottom, right = box(made.after[0, 0].numpy())
    assert (top, bottom) == (0, 28) and abs(left - (28 - right)) <= 1 and right - left in (18, 19, 20)


def test_an_outline_is_filled_and_an_open_one_is_not():
    outline = frame(blank(), 20, 20, 90, 70)
    filled, hollow = prepare(outline), prepare(outline, fill=False)
    assert filled.after[0, 0, 14, 14] > 150 and hollow.after[0, 0, 14, 14] == 0
    assert filled.filled == pytest.approx(58 * 38 / (70 * 50)) and hollow.filled == 0
    outline[84:, 30:60] = 0  # 底下开了口
    assert prepare(outline).filled == 0


def test_white_paper_is_turned_into_black_ground():
    drawn = frame(blank(), 20, 30, 90, 70)
    dark, light = prepare(drawn), prepare(255 - drawn)
    assert light.inverted and not dark.inverted
    assert (dark.after.int() - light.after.int()).abs().max() <= 1
    rows = np.zeros((3, 20), np.uint8)
    rows[0], rows[2, :10] = 255, 255  # 最外面一圈亮的多，里面不算
    assert prepare(rows).inverted


def test_the_paper_is_what_most_of_the_edge_is():
    """一圈边里白的占多数：里面再黑，也是白纸。"""
    paper = blank(8, 80)
    paper[0] = paper[-1, :20] = 255
    assert prepare(paper, cut=False).inverted and not prepare(255 - paper, cut=False).inverted


def test_a_garment_is_cut_out_of_an_uneven_ground():
    rng = np.random.default_rng(0)
    photo = blank(200, 300, 215) + rng.integers(0, 20, (200, 300)).astype(np.uint8)
    photo[40:180, 100:180] = 60
    made = prepare(np.stack([photo] * 3, axis=-1))
    after = made.after[0, 0].numpy()
    assert made.inverted and after[:, :4].max() == 0 and after[:, 24:].max() == 0
    assert after[3:25, 8:20].min() > 150 and box(after)[::2] == (0, 28)
    assert prepare(photo, cut=False, centre=False).after[0, 0, 13, 0] > 0


def test_specks_do_not_move_the_garment():
    clean = frame(blank(), 20, 30, 90, 70, thick=20)
    specks = clean.copy()
    specks[3:6, 3:6] = specks[104:107, 100:104] = 255
    assert torch.equal(prepare(clean).after, prepare(specks).after)


def test_two_shoes_are_both_kept():
    shoes = blank()
    shoes[50:80, 5:50] = shoes[50:80, 62:107] = 200
    assert ndimage.label(prepare(shoes).after[0, 0].numpy() > 100)[1] == 2


def test_a_test_image_stays_itself(garments):
    """训练的图就是这样整理出来的：再整理一遍，多半的图一个像素差不到一成。"""
    away = [(prepare(image).after[0, 0].int() - image.int()).abs().float().mean() / 255 for image in garments]
    assert np.median(away) < 0.02 and np.quantile(away, 0.9) < 0.1


def test_a_shifted_test_image_comes_back(garments):
    kept = 0
    for image in garments:
        wide = torch.zeros(44, 44, dtype=torch.uint8)
        wide[8:36, 8:36] = image
        moved = torch.roll(wide, (6, -5), (0, 1))
        kept += torch.equal(prepare(wide).after, prepare(moved).after)
    assert kept == len(garments)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_an_empty_image_is_black_and_no_error(value):
    assert not prepare(blank(value=value)).after.any()
    assert not prepare(np.full((5, 9), np.nan)).after.any()


def test_what_is_not_an_image_is_refused():
    for bad in (np.zeros(9), np.zeros((3, 3, 4)), np.zeros((1, 5)), np.zeros((0, 0))):
        with pytest.raises(ValueError, match="一张图应当是"):
            prepare(bad)
