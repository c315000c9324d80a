"""命令行与体检：python -m helpers run、doctor。"""

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import pytest
import torch
from packaging.requirements import Requirement

from helpers import doctor, paths, saved_runs
from helpers.__main__ import main, parse_changes


def test_run_trains_and_saves(capsys):
    assert main(["run", "7.1", "--num-epochs", "2", "--images=320", "--batch_size", "32", "--c1", "8"]) == 0
    out = capsys.readouterr().out
    [run] = saved_runs("lenet")
    assert run.recipe["c1"] == 8 and run.last.epoch == 2 and run.seed == 0
    assert "c1=8" in out and "第 2/2 轮" in out and "判断" in out and "<Figure" not in out


def test_full_is_the_book_and_the_seed_is_kept(monkeypatch, capsys):
    seen = []
    monkeypatch.setattr("helpers.__main__.train", lambda net, *data, plan, seed, **options: seen.append(
        (net, plan, seed)) or FINISHED)
    main(["run", "7.6", "--full", "--seed", "4"])
    [(net, plan, seed)] = seen
    assert plan.is_book and plan.size == 96 and plan.recipe.images is None and seed == 4
    torch.manual_seed(4)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), plan.build().parameters(), strict=True))


class FINISHED:
    """一次结束了的训练。"""

    finished, ended = True, "done"


@pytest.mark.parametrize("arguments, message", [
    (["run", "9.9"], "没有第 '9.9' 节"), (["run", "7.1", "--c9", "3"], "没有 c9"),
    (["run", "7.1", "--lr", "abc"], "'abc'"), (["run", "7.1", "--lr"], "--名字 值"),
    (["run", "7.1", "5"], "--名字 值"),
    pytest.param(["run", "7.1", "--cuda-graph"], "要一块 NVIDIA GPU", marks=pytest.mark.skipif(
        torch.cuda.is_available(), reason="有 CUDA 显卡就能用")),
    (["run", "7.1", "--lr", "-1"], "大于 0"), (["run", "7.1", "--images", "3"], "images 应当是 10 到 60000"),
    (["run", "7.3", "--ratio", "0"], "建不起来"), (["run", "7.1", "--make", "3"], "没有 make"),
    (["run", "7.1", "--widths", "3"], "没有 widths"), (["run", "7.1", "--folder", "3"], "没有 folder"),
    (["run", "7.1", "--init", "kaimin"], "没有初始化"), (["run", "7.1", "--lr", "1e999"], "lr"),
    (["run", "7.1", "--lr", "None"], "lr"), (["run", "7.1", "--batch-size", "None"], "batch_size"),
    (["run", "7.1", "--c1", "True"], "c1"), (["run", "7.1", "--c1", "1+" * 5_000 + "1"], "c1"),
    (["run", "7.1", "--c1", "1" + "0" * 30], "建不起来"), (["run", "7.1", "--seed", "x"], "seed"),
    (["run", "7.1", "--seed", "-1"], "seed"), (["run", "7.1", "--dtype", "float64"], "--dtype 应当是"),
    (["run"], "没有第 None 节"),
    (["run", "7.1", "--size", "20"], "走不通"), (["run", "7.1", "--num-epochs", "0"], "正整数")])
def test_bad_options_are_one_chinese_sentence(arguments, message, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["x"], ["run", "7.1", "--seed"], ["doctor", "--x"], ["doctor", "3"]])
def test_bad_commands_are_one_chinese_sentence(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and "写得不对" in error and error.count("\n") == 1


def test_options_are_parsed():
    assert parse_changes(["--lr=0.1", "--conv-arch", "((1, 64), (1, 128))"]) == {
        "lr": 0.1, "conv_arch": ((1, 64), (1, 128))}


@pytest.mark.slow
def test_doctor_finds_this_machine_healthy():
    done = subprocess.run([sys.executable, "-m", "helpers", "doctor"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "torch" in done.stdout and "汉字字体" in done.stdout and "✗" not in done.stdout


def test_doctor_finds_a_damaged_file_and_a_missing_font(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "FASHION_MNIST", tmp_path)
    monkeypatch.setattr(paths, "FONT", tmp_path / "none.otf")
    bad = {check.name: check.remedy for check in doctor.examine() if not check.good}
    assert bad.keys() == {*doctor.FILES, "汉字字体"}
    assert all(remedy.startswith("git checkout -- helpers/") for remedy in bad.values())


def test_a_group_that_breaks_is_named_and_the_others_go_on():
    def broken(name):
        raise RuntimeError(name)
    checks = doctor.examine(broken)
    assert {check.name for check in checks if not check.good} == {"软件包", "torchvision", "小组件"}
    assert {"汉字字体", *doctor.FILES} <= {check.name for check in checks}


def test_every_requirement_is_looked_at():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11 起
    names = {check.name for check in doctor.examine()}
    declared = tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    assert {Requirement(line).name for line in declared} <= names
    assert not {"pytest", "nbval"} & names  # 可选的不查


def not_installed(name):
    raise PackageNotFoundError(name)


@pytest.mark.parametrize("requires", [not_installed, lambda name: None, lambda name: ['pytest>=8; extra == "test"']],
                         ids=["没有装", "没有写", "旧的，只写了可选的"])
def test_doctor_says_so_when_helpers_is_not_installed(requires, monkeypatch):
    monkeypatch.setattr(doctor, "requires", requires)
    [check] = [check for check in doctor.examine() if not check.good]
    assert (check.name, check.remedy) == ("helpers", "pip install -r requirements.txt")


def test_doctor_command_fails_when_something_is_wrong(monkeypatch, capsys):
    monkeypatch.setattr("helpers.__main__.examine", lambda: [doctor.Check("甲", False, "乙", "丙")])
    assert main(["doctor"]) == 1
    assert "✗ 甲：乙\n  → 丙" in capsys.readouterr().out


TRAIN = [sys.executable, "-m", "helpers", "run", "7.1", "--num-epochs", "2", "--images", "320", "--batch-size", "32"]


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "gbk", "utf-8"])
@pytest.mark.parametrize("command", [[sys.executable, "-m", "helpers", "doctor"], TRAIN], ids=["doctor", "run"])
def test_any_encoding_of_the_console_will_do(command, encoding, tmp_path):
    environment = os.environ | {"PYTHONIOENCODING": encoding, "COMPANION_RUNS": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, env=environment)
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr[-2000:]
