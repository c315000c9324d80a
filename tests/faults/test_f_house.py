"""F：环境、笔记本和源代码。"""

import ast
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import normal_form
import pytest
from nbformat import v4
from support.exact import EXACT
from support.rows import NAIVE, against

from helpers import doctor
from helpers.book.sections import NETWORKS, find
from helpers.paths import ROOT


def examined(versions):
    """doctor 指出的毛病：(名目, 命令)。versions: 假装装着的版本。"""
    checks = doctor.examine(lambda name: versions.get(name, doctor.installed(name)))
    return [(check.name, check.remedy) for check in checks if not check.good]


def listed(versions):
    """pip list：有版本，没有判断。"""
    return []


@against(examined, listed)
@pytest.mark.parametrize("versions, name, command", [
    ({"torch": "2.1.0", "torchvision": "0.16.0"}, "torch", 'pip install "torch>=2.6"'),
    ({"ipywidgets": None}, "ipywidgets", 'pip install "ipywidgets>=8.1"'),
    ({"torch": "2.9.0+cu130", "torchvision": "0.21.0"}, "torchvision 与 torch 相配",
     'pip install "torch==2.9.0" "torchvision==0.24.*"'),
    ({"jupyterlab_widgets": "1.1.0"}, "滑块的两半（内核、网页）相配", "pip install --force-reinstall"),
    ({"ipywidgets": "7.8.0"}, "ipywidgets", 'pip install "ipywidgets>=8.1"')])
def test_F1_versions_that_do_not_match(subject, versions, name, command):
    assert any(found == name and command in remedy for found, remedy in subject(versions))


def valid(path):
    """只看是不是合格的笔记本文件。"""
    try:
        nbformat.validate(nbformat.read(path, as_version=4))
    except nbformat.ValidationError as error:
        return [str(error)]
    return []


SPOILS = {
    "没有输出": lambda nb: [cell.update(outputs=[], execution_count=None) for cell in nb.cells if "outputs" in cell],
    "一格没有运行": lambda nb: code(nb).update(execution_count=None),
    "次序乱了": lambda nb: code(nb).update(execution_count=7),
    "小组件的状态": lambda nb: nb.metadata.update(widgets={}),
    "小组件的引用": lambda nb: output(nb, "display_data", data={normal_form.WIDGET: {"model_id": "1"}}),
    "折叠": lambda nb: code(nb).metadata.update(collapsed=True),
    "绝对路径": lambda nb: output(nb, "stream", text="/home/me/data"),
    "JavaScript": lambda nb: output(nb, "display_data", data={"application/javascript": "1"}),
    "别的内核": lambda nb: nb.metadata.kernelspec.update(name="my-env"),
}
WARNINGS = {
    "警告": lambda nb: output(nb, "stream", name="stderr", text="UserWarning: 将来不支持"),
    "错误": lambda nb: output(nb, "error", ename="E", evalue="", traceback=[]),
}


def code(notebook):
    return next(cell for cell in notebook.cells if cell.cell_type == "code")


def output(notebook, kind, **content):
    code(notebook).outputs.append(nbformat.v4.new_output(kind, **content))


def spoiled(path, spoil):
    """7.1 的开头，弄坏一处；没有弄坏时是合格的。"""
    notebook = nbformat.read(find("7.1"), as_version=4)
    notebook.cells = notebook.cells[:6]
    path.write_text(normal_form.text(normal_form.normalize(notebook)), encoding="utf-8")
    assert normal_form.problems(path) == []
    spoil(notebook)
    path.write_text(normal_form.text(notebook), encoding="utf-8")
    return path


@against(normal_form.problems, valid)
@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
def test_F2_notebooks_out_of_form(subject, spoil, tmp_path):
    assert any("运行 " in problem or "JavaScript" in problem or "路径" in problem
               for problem in subject(spoiled(tmp_path / "x.ipynb", spoil)))


@against(normal_form.problems, valid)
@pytest.mark.parametrize("spoil", WARNINGS.values(), ids=WARNINGS)
def test_F4_a_new_warning_in_an_output(subject, spoil, tmp_path):
    assert any("错误或警告" in problem for problem in subject(spoiled(tmp_path / "x.ipynb", spoil)))


def by_nbval(path):
    """重跑，逐格比较输出；不通过的是第几格。"""
    report = path.with_suffix(".xml")
    subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", f"--junitxml={report}",
                    path], cwd=path.parent, stdout=subprocess.DEVNULL)
    cells = ElementTree.parse(report).findall(".//testcase")
    return [i for i, cell in enumerate(cells) if cell.find("failure") is not None]


def by_executing(path):
    """重跑，只看有没有异常；有，不知道是哪一格。"""
    process = subprocess.run([sys.executable, "-m", "jupyter", "nbconvert", "--to", "notebook", "--execute", "--stdout",
                              path], cwd=path.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return [0] if process.returncode else []


def shortened(section):
    """一节到画图之前的部分；其中没有验话的单元格时，加上后面的第一格，用到画图时的名字的不算。"""
    cells = nbformat.read(find(section), as_version=4).cells
    start = next(i for i, cell in enumerate(cells) if "\n## 图\n" in f"\n{cell.source}")
    claims = [cell for cell in cells if cell.cell_type == "code" and "check(" in cell.source]
    if not any(cell in claims for cell in cells[:start]):
        cells.insert(start, next(cell for cell in claims if not NEEDS_FIGURES.search(cell.source)))
        start += 1
    return cells[:start]


NEEDS_FIGURES = re.compile(r"\b(seen|layers|kinds|net|block|garments|small|alexnet)\b")


def code_cells(section):
    """一节缩短以后的代码单元格，id 是新的：一格可以在一本里出现几次。"""
    return [v4.new_code_cell(**cell | {"id": v4.new_code_cell().id})
            for cell in shortened(section) if cell.cell_type == "code"]


@pytest.mark.parametrize("subject, section", [
    *((by_nbval, section) for section in NETWORKS), pytest.param(by_executing, "7.1", marks=NAIVE)])
def test_F3_a_changed_default_or_claim(subject, section, tmp_path):
    """原样的通过；在它后面再运行一遍，改了一句话的那一格、改了一处默认值以后的，不通过。"""
    *_, before, after = EXACT[section]
    same, claims, defaults = (code_cells(section) for _ in range(3))
    claim = [cell for cell in claims if "check(" in cell.source][-1]
    claim.source = re.sub(r'check\((f?)"', r'check(\1"其实', claim.source, count=1)
    [start] = [i for i, cell in enumerate(defaults) if cell.metadata.get("tags") and before in cell.source]
    defaults[start].source = defaults[start].source.replace(before, after)
    path = tmp_path / "changed.ipynb"
    nbformat.write(v4.new_notebook(cells=[*same, claim, *defaults[start:]]), path)
    red = subject(path)
    assert red[0] == len(same) and len(red) > 1


DANGEROUS = {"pickle", "dill", "joblib", "marshal", "shelve"}


def dangers(source):
    """源代码里危险的写法。"""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            found += [name for name in names if name.split(".")[0] in DANGEROUS]
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if name in ("eval", "os.system", "os.popen") or name.endswith((".extractall", ".unpack_archive")):
                found.append(name)
            if name.endswith("torch.load") and options.get("weights_only") != "True":
                found.append("torch.load 没有 weights_only")
            if options.get("shell") == "True":
                found.append("shell=True")
            if name == "exec" and "compile" not in ast.unparse(node):
                found.append("exec")
    return found


def open_server(text):
    """文档里不要口令的服务器。"""
    return re.findall(r"""(?:token|password)\s*=\s*(?:''|""|\s|$)|--ip[= ]0\.0\.0\.0|disable_check_xsrf""", text)


def sources():
    """项目里给读者的全部代码。"""
    for path in (*(ROOT / "helpers").rglob("*.py"), *(ROOT / "tools").glob("*.py")):
        yield path.read_text(encoding="utf-8")
    for section in NETWORKS:
        for cell in nbformat.read(find(section), as_version=4).cells:
            if cell.cell_type == "code":
                yield cell.source


def book_helper():
    """常见的写法。"""
    yield "import pickle, torch, tarfile\nnet = torch.load('net.pt')\ntarfile.open('x').extractall()"
    yield "import subprocess\nsubprocess.run('wget x', shell=True)"
    yield "lr = eval(box.value)"


@against(sources, book_helper)
def test_F5_dangerous_calls(subject):
    for source in subject():
        assert dangers(source) == []


def test_F5_no_open_server_is_documented():
    assert open_server("jupyter lab --ServerApp.token='' --ip=0.0.0.0")
    for path in (*ROOT.glob("*.md"), ROOT / "Makefile", *Path(ROOT / "notebooks").glob("*.ipynb")):
        assert not open_server(path.read_text(encoding="utf-8")), path
