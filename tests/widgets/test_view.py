"""在真的 JupyterLab、Notebook 7 和 Chromium 里打开一个刚训练的网络：画一件，点一格，走回像素；先猜；内核重启。"""

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
from helpers import Inside, fashion_mnist, fit, guess, load
train, test = fashion_mnist(batch_size=32, images=1200, device="cpu")
torch.manual_seed(0)
net = load("7.1").lenet(activation="ReLU")
points = [*fit(net, train, test, lr=0.1, num_epochs=2)]
inside = Inside(net, test, train)
"""
SHIRT = [(0.2, 0.15), (0.8, 0.15), (0.8, 0.4), (0.65, 0.4), (0.65, 0.85), (0.35, 0.85), (0.35, 0.4), (0.2, 0.4),
         (0.2, 0.15)]


@pytest.fixture(scope="module", params=FRONT_ENDS)
def opened(request, tmp_path_factory):
    """(哪一种, 运行过的笔记本)；几个测试接着用同一个，最后一个重启内核。"""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "notebooks").mkdir()
    cells = [nbformat.v4.new_code_cell(source)
             for source in (TRAIN, "inside", 'guess("7.1", "block")', 'guess("7.5", "path")')]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "notebooks" / "view.ipynb")
    with serving(request.param, folder, "view.ipynb") as url, browsing(width=1440, height=900) as page:
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


def test_the_keys_are_the_view_s_and_escape_gives_them_back(opened):
    _, page = opened
    view, cells = page.locator(".inside"), page.locator(".jp-Cell")
    count = cells.count()
    for place in (".step", ".class", ".path button", ".sheet"):
        view.locator(place).first.focus()
        for key in "ddxab":  # JupyterLab：删除、剪切、在上面和下面加一格
            page.keyboard.press(key)
        page.wait_for_timeout(200)
        assert cells.count() == count and view.count() == 1
    view.locator(".class").first.focus()
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    page.wait_for_function("count => document.querySelectorAll('.jp-Cell').length === count + 1", arg=count)


def test_a_reader_guesses_before_looking(opened):
    _, page = opened
    shape, path = (page.locator(".jp-CodeCell", has_text=f'guess("{name}")').locator(".jp-Cell-outputArea")
                   for name in ('7.1", "block', '7.5", "path'))
    assert shape.locator("code").inner_text() == "lenet_block(1, 6, padding=2)"
    shape.locator("input").fill("6x28x28")
    assert shape.locator("table").count() == 0
    shape.locator("input").press("Enter")
    shape.locator("table").wait_for()
    assert "6×14×14" in shape.inner_text() and "汇聚" in shape.inner_text()

    path.get_by_role("button", name="猜", exact=True).click()  # 还没有选
    path.get_by_text("✗").wait_for()
    path.locator("select").select_option(index=2)
    path.get_by_role("button", name="猜", exact=True).click()
    path.locator("table").wait_for()
    assert path.get_by_text("✗").count() == 0 and "路径 2" in path.inner_text()

    page.evaluate("""async () => {
        const book = jupyterapp.shell.currentWidget.content;
        book.activeCellIndex = book.widgets.findIndex((cell) => cell.model.sharedModel.source.includes("path"));
        await jupyterapp.commands.execute("notebook:run-cell");
    }""")
    path.get_by_text("上次").wait_for()  # 再运行：猜过的还记着，结果又收起来
    assert path.locator("table").count() == 0


def test_a_view_whose_kernel_is_new_says_so(opened):
    _, page = opened
    word = page.get_by_role("status").filter(has_text="内核")
    assert word.count() == 0 or not word.is_visible()
    page.evaluate("jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    page.locator(".inside .class").first.click()
    word.wait_for()
