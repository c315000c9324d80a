"""网站只做一次：做要三四个 CPU 分钟，几个文件、几个进程用的是同一份。"""

import json
import re

import build
import pytest
from filelock import FileLock

from helpers.paths import NOTEBOOKS

DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>')


@pytest.fixture(scope="session")
def site(tmp_path_factory, worker_id):
    """做好的网站在哪个文件夹。几个进程里，先到的做，别的等。"""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "site"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            build.build(NOTEBOOKS, folder)
    return folder


@pytest.fixture(scope="session")
def page_data(site):
    """每一页里能动的东西的数据：节 → 种类 → 单元格 → 数据。"""
    return {path.name.split("-")[0]: json.loads(DATA.search(path.read_text(encoding="utf-8"))[1])
            for path in sorted(site.glob("7.*.html"))}
