"""checkpoint.py：接着训练与没有断过一样；存档任何时候都是完整的一份。"""

import pickle
import signal

import pytest
import torch
from torch import nn

from helpers import Batches, fashion_mnist, saved_runs, train
from helpers.experiments.checkpoint import kept


def network():
    """有暂退法和批量规范化的网络：随机数和统计量也要接得上。"""
    return nn.Sequential(nn.Conv2d(1, 4, 5, stride=3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(),
                         nn.Linear(256, 10))


@pytest.fixture
def fresh(tmp_path):
    """从头开始或接着训练：(结果, 权重)。"""
    def go(name, resume=False, seed=0, num_epochs=3, **changes):
        torch.manual_seed(seed)
        net = network()
        run = train(net, *fashion_mnist(16, images=160, device="cpu"), lr=0.05, num_epochs=num_epochs,
                    checkpoint=tmp_path / f"{name}.pt", resume=resume, **changes)
        return run, torch.cat([value.flatten().float() for value in net.state_dict().values()])
    return go


def interrupt_at(monkeypatch, owner, name, call):
    """第 call 次调用 owner.name 时按下中断。"""
    original, calls = getattr(owner, name), []

    def counted(*args, **options):
        calls.append(1)
        if len(calls) == call:
            signal.raise_signal(signal.SIGINT)
        return original(*args, **options)
    monkeypatch.setattr(owner, name, counted)


# 一轮 10 批训练、2 批评估，每批取一次数据
@pytest.mark.parametrize("owner, name, call, epoch", [
    (torch.optim.SGD, "step", 14, 1.4), (torch.optim.SGD, "step", 20, 2), (Batches, "scale", 23, 2),
    (Batches, "order", 2, 1.1)], ids=["在一轮中间", "最后一步", "评估时", "刚开始一轮"])
def test_resumed_equals_unbroken_bit_for_bit(fresh, monkeypatch, owner, name, call, epoch, capsys):
    whole, weights = fresh("whole")
    with monkeypatch.context() as patch:
        interrupt_at(patch, owner, name, call)
        broken, _ = fresh("broken")
    assert broken.ended == "interrupted" and len(broken.points) < len(whole.points)
    resumed, again = fresh("broken", resume=True, seed=7)  # 别的初始化，由存档盖过去
    assert resumed.points == whole.points and torch.equal(weights, again)
    assert "从存档接着训练" in capsys.readouterr().out


def test_killed_between_checkpoints_repeats_the_epoch(fresh, monkeypatch):
    whole, weights = fresh("whole")
    original, calls = torch.optim.SGD.step, []

    def dying(*args):
        calls.append(1)
        if len(calls) == 17:
            raise RuntimeError("进程没了")
        return original(*args)
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(torch.optim.SGD, "step", dying)
        fresh("broken")
    resumed, again = fresh("broken", resume=True, seed=7)
    assert resumed.points == whole.points and torch.equal(weights, again)


def test_an_error_after_an_interruption_is_an_error():
    def turns():
        signal.raise_signal(signal.SIGINT)
        raise RuntimeError("形状不对")
        yield
    with pytest.raises(RuntimeError, match="形状不对"):
        list(kept(turns(), lambda: None))


def test_more_epochs_than_before(fresh):
    whole, weights = fresh("whole", num_epochs=3)
    fresh("short", num_epochs=2)
    resumed, again = fresh("short", resume=True, num_epochs=3)
    assert resumed.points == whole.points and torch.equal(weights, again)


def test_without_resume_it_starts_over(fresh):
    first, _ = fresh("a")
    second, _ = fresh("a")
    assert first.points == second.points


@pytest.mark.parametrize("spoil", [
    lambda path: path.write_bytes(path.read_bytes()[:-500]), lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(pickle.dumps(print)), lambda path: torch.save({"net": 1}, path),
    lambda path: torch.save(nn.Linear(2, 2), path)])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_damaged_checkpoint_is_refused_in_words(fresh, tmp_path, spoil):
    fresh("a", num_epochs=1)
    spoil(tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"读不出来.*删掉它"):
        fresh("a", resume=True)


def test_other_settings_are_refused_in_words(tmp_path):
    net = network()
    options = {"num_epochs": 1, "checkpoint": tmp_path / "a.pt"}
    train(net, *fashion_mnist(16, images=160, device="cpu"), lr=0.05, **options)
    before = [p.clone() for p in net.parameters()]
    with pytest.raises(ValueError, match=r"批量 32 而不是 16.*--resume"):
        train(net, *fashion_mnist(32, images=160, device="cpu"), lr=0.05, resume=True, **options)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


@pytest.mark.parametrize("changes, names", [
    ({"seed": 2}, "种子 2 而不是 1"), ({"dtype": torch.bfloat16}, "精度 bfloat16 而不是 float32"),
    ({"num_epochs": 1}, "已经训练了 2 轮")])
def test_what_would_not_be_the_same_run_is_refused(tmp_path, changes, names):
    options = {"seed": 1, "dtype": torch.float32, "num_epochs": 2, "checkpoint": tmp_path / "a.pt", "lr": 0.05}
    data = fashion_mnist(16, images=160, device="cpu")
    train(network(), *data, **options)
    with pytest.raises(ValueError, match=names):
        train(network(), *data, **options | changes, resume=True)
    assert train(network(), *data, **options | {"num_epochs": 3, "lr": 0.01}, resume=True).last.epoch == 3


@pytest.mark.parametrize("error, reason", [(OSError(28, "磁盘满了"), "磁盘满了"), (RuntimeError("x"), "写到一半")])
def test_a_full_disk_leaves_the_old_checkpoint(fresh, tmp_path, monkeypatch, error, reason):
    fresh("a", num_epochs=1)
    before = (tmp_path / "a.pt").read_bytes()
    monkeypatch.setattr(torch, "save", lambda content, file: file.write(b"1234") and fail(error))
    with pytest.warns(UserWarning, match=rf"存档没有存下来（{reason}.*上一份还在"):
        run, _ = fresh("a", num_epochs=2)
    assert run.finished
    assert (tmp_path / "a.pt").read_bytes() == before and not list(tmp_path.glob("*.tmp"))


def fail(error):
    raise error


def resume(path, num_epochs=2):
    """同样的命令，加上 --resume。"""
    return train(network(), *fashion_mnist(16, images=160, device="cpu"), lr=0.1, num_epochs=num_epochs, seed=0,
                 checkpoint=path, resume=True)


def test_resuming_a_finished_run_saves_no_copy(tmp_path, capsys, runs_folder):
    first = resume(tmp_path / "a.pt")
    for _ in range(2):
        again = resume(tmp_path / "a.pt")
        assert again.points == first.points and again.finished and "没有再训练" in capsys.readouterr().out
    assert saved_runs() == [first]
    longer = resume(tmp_path / "a.pt", num_epochs=3)
    assert saved_runs() == [first, longer] and "从存档接着训练：已经有 2 轮" in capsys.readouterr().out
    for path in runs_folder.glob("*.json"):  # 存档之后、存下之前断的：这一次还没有存过
        path.unlink()
    assert [run.points for run in (resume(tmp_path / "a.pt", 3), *saved_runs())] == [longer.points] * 2
