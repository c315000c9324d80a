"""几次训练放在一起比。"""

from collections.abc import Iterable

from helpers.experiments.run import Run, several
from helpers.experiments.settings import label, show
from helpers.experiments.store import Runs
from helpers.pictures.canvas import Picture, table_picture
from helpers.pictures.curves import curves_height, draw_curves


def compare(runs: Iterable[Run]) -> Picture:
    """几次训练：曲线画在一张图里，下面一张表；`saved_runs` 跳过的文件写在最下面。"""
    notes = [runs.note] if isinstance(runs, Runs) and runs.note else []
    runs = several(runs)
    if not runs:
        raise ValueError("没有可以比较的训练。先训练一次。")
    names = _distinguish(runs)
    rows = [("", "网络", "设置", "轮数", "训练精度", "测试精度", "秒", "诊断")]
    for i, (run, name) in enumerate(zip(runs, names, strict=True), start=1):
        last = run.last
        finding = str(run.findings[0]) if run.findings else run.condition
        rows.append((str(i), run.network, name, f"{last.epoch:.3g}" if last else "0",
                     f"{last.train_acc:.3f}" if last else "–", "–" if run.test_acc is None else f"{run.test_acc:.3f}",
                     f"{run.total_seconds:.0f}", finding))
    curves = {f"{i} {name}": run.points for i, (run, name) in enumerate(zip(runs, names, strict=True), 1)}
    return table_picture(rows, "几次训练", notes=notes, widest=44, above=lambda figure: draw_curves(figure, curves),
                         above_height=curves_height(curves))


def _distinguish(runs: list[Run]) -> list[str]:
    """每一次与别的几次不同的设置；只有一次就是与书上不同的。"""
    if len(runs) == 1:
        return [runs[0].name]
    keys = [key for key in runs[-1].recipe
            if key not in ("params", "macs") and len({str(run.recipe.get(key)) for run in runs}) > 1]
    return ["，".join(f"{label(key)} {show(run.recipe[key])}" for key in keys if key in run.recipe) or run.name
            for run in runs]
