"""在真的 JupyterLab、Notebook 7 和 Chromium 里打开一个刚训练的网络：画一件，点一格，走回像素。"""

import ast

import nbformat
import pytest
from support.browser import (
    CHROMIUM,
    FRONT_ENDS,
    SCREENSHOTS,
    ask_kernel,
    browsing,
    draw,
    run_all,
    serving,
    theme,
)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="没有 Chromium；CI 会装")]

TRAIN = """
import torch
from helpers import Inside, fashion_mnist, fit, load
train, test = fashion_mnist(batch_size=32, images=1200, device="cpu")
torch.manual_seed(0)
net = load("7.1").lenet(activation="ReLU")
points = [*fit(net, train, test, lr=0.1, num_epochs=2)]
inside = Inside(net, test, train)
"""
SHIRT = [(0.2, 0.15), (0.8, 0.15), (0.8, 0.4), (0.65, 0.4), (0.65, 0.85), (0.35, 0.85), (0.35, 0.4), (0.2, 0.4),
         (0.2, 0.15)]


@pytest.fixture(params=FRONT_ENDS)
def opened(request, tmp_path):
    """(哪一种, 运行过的笔记本)。"""
    (tmp_path / "notebooks").mkdir()
    cells = [nbformat.v4.new_code_cell(source) for source in (TRAIN, "inside")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "notebooks" / "view.ipynb")
    with serving(request.param, tmp_path, "view.ipynb") as url, browsing(width=1440, height=900) as page:
        run_all(page, url, 300)
        yield request.param, page


def shown(page):
    """正在看的一格：(第几步、第几张、行、列，在张量里的位置，它的数)。"""
    value = page.locator(".inside [data-what=value]")
    cell, index = (tuple(map(int, value.get_attribute(f"data-{name}").split(","))) for name in ("cell", "index"))
    return cell, index, float(value.get_attribute("data-value"))


def follow(page, button):
    """点一项，等到看的是别的一格。"""
    before = page.locator(".inside [data-what=value]").get_attribute("data-cell")
    button.click()
    page.wait_for_function("before => document.querySelector('.inside [data-what=value]').dataset.cell !== before",
                           arg=before)


def test_a_reader_draws_a_garment_and_walks_from_a_cell_to_a_pixel(opened):
    name, page = opened
    view = page.locator(".inside")
    view.locator("[data-class]").first.wait_for()
    view.scroll_into_view_if_needed()
    before = view.locator(".right").inner_text()
    view.get_by_role("button", name="画一张").click()
    draw(page, SHIRT)
    page.wait_for_function("before => document.querySelector('.inside .right').innerText !== before", arg=before)
    page.wait_for_timeout(500)
    drawn = view.locator(".right").inner_text()
    answer = ast.literal_eval(ask_kernel(page, "inside.answers.probabilities.tolist()"))
    assert drawn.split()[1:20:2] == [f"{p:.2f}" for p in answer]
    assert ask_kernel(page, "int((inside.answers.X > 0.5).sum()) > 150") == "True"  # 填满了

    view.locator(".step[data-step='4'] canvas").nth(2).click()  # 第二个卷积层
    page.wait_for_function("document.querySelector('.inside [data-what=value]').dataset.cell.startsWith('4,2,')")
    _, index, value = shown(page)
    assert float(ask_kernel(page, f"net.cpu().eval()[:4](inside.answers.X)[{index}].item()")) == pytest.approx(
        value, abs=1e-5)
    assert view.locator("[data-what=total]").inner_text().split()[-1].replace("−", "-") == f"{float(f'{value:.4g}'):g}"
    theme(page, "Light")
    view.screenshot(path=SCREENSHOTS / f"view-{name}-light.png")

    visited = [4]
    while visited[-1]:
        buttons = view.locator("[data-what=products] button, [data-what=window] button, .terms button")
        follow(page, buttons.locator("visible=true").last)
        cell, index, value = shown(page)
        assert cell[0] == visited[-1] - 1
        visited.append(cell[0])
    assert float(ask_kernel(page, f"inside.answers.X[{index}].item()")) == pytest.approx(value)
    assert view.locator(".path [data-walked]").count() == len(visited) == 5
    page.keyboard.press("Backspace")
    page.wait_for_function("document.querySelector('.inside [data-what=value]').dataset.cell.startsWith('1,')")

    theme(page, "Dark")
    view.screenshot(path=SCREENSHOTS / f"view-{name}-dark.png")
