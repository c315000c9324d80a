"""G9、G10：在训练开始之前、结束之后按下中断。"""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from support.rows import against
from torch import nn

from helpers import fashion_mnist, saved_runs, trace, train
from helpers.experiments import session


def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def by_train(net, data):
    """笔记本里那样。"""
    return train(net, *data, lr=0.1, num_epochs=2)


def by_hand(net, data):
    """自己把曲线、训练和记录拼在一起；训练时的中断也管了。"""
    session.reset_peak(torch.device("cpu"))
    session.trace(net, (1, 1, 28, 28))
    with session.LivePlot(2, show=lambda png: None) as plot:
        try:
            for point in session.steps(net, *data, lr=0.1, num_epochs=2):
                if point is not None:
                    plot.add(point)
        except KeyboardInterrupt:
            pass
    run = session.Run(network="", recipe={}, book_recipe={}, points=plot.points, ended="done", device="cpu",
                      dtype="float32", seed=None, started="", seconds={}, memory={})
    session.diagnose(run, net, data[0])
    session.save(run)
    return run


def quietly(subject):
    """训练一次；中断成了一屏 traceback，就是没有通过。"""
    try:
        return subject(network(), fashion_mnist(16, images=160, device="cpu"))
    except KeyboardInterrupt:
        pytest.fail("KeyboardInterrupt")


def interrupted(original, times=1):
    """调用它的时候按下中断。"""
    def act(*arguments, **options):
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
        return original(*arguments, **options)
    return act


@pytest.mark.parametrize("stage", ["trace", "reset_peak", "LivePlot", "steps"])
@against(by_train, by_hand)
def test_G9_interrupt_while_it_is_set_up(subject, stage, monkeypatch, capsys):
    """没有训练成，但也不是一屏 traceback：一句话，一次留下记录的训练。"""
    monkeypatch.setattr(session, stage, interrupted(getattr(session, stage)))
    run = quietly(subject)
    assert run.ended == "interrupted" and capsys.readouterr().out.count("中断") == 1
    assert [saved.ended for saved in saved_runs()] == ["interrupted"]


@pytest.mark.filterwarnings("ignore:没有诊断完")  # 存两次，就按了两次
@pytest.mark.parametrize("stage", ["diagnose", "save"])
@against(by_train, by_hand)
def test_G10_interrupt_after_the_last_step(subject, stage, monkeypatch):
    monkeypatch.setattr(session, stage, interrupted(getattr(session, stage)))
    run = quietly(subject)
    assert [point.epoch for point in run.points][-1] == 2 and [saved.ended for saved in saved_runs()] == ["done"]


def test_G10_pressing_again_and_again_costs_nothing_once_it_is_saved(monkeypatch):
    monkeypatch.setattr(session, "diagnose", interrupted(session.diagnose, times=3))
    with pytest.warns(UserWarning, match="没有诊断完"):
        run = quietly(by_train)
    assert run.finished and len(saved_runs()) == 1


def test_G9_a_second_press_while_it_is_set_up_stops_at_once(monkeypatch):
    monkeypatch.setattr(session, "trace", interrupted(trace, times=2))
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        by_train(network(), fashion_mnist(16, images=160, device="cpu"))
    assert signal.getsignal(signal.SIGINT) is handler


COMMAND = [sys.executable, "-m", "helpers", "run", "7.1", "--images", "6000", "--num-epochs", "100"]
SCRIPT = [sys.executable, "-u", "-c", """
from helpers import fashion_mnist, fit, load
plan = load("7.1").plan.change(images=6000)
print("lenet", flush=True)
net = plan.build()
for point in fit(net, *plan.data(), lr=0.9, num_epochs=100):
    print(point.loss, flush=True)
"""]


def loading_torch(process):
    """正在导入 torch。"""
    while process.poll() is None:
        with open(f"/proc/{process.pid}/maps") as maps:
            if "libtorch" in maps.read():
                return
        time.sleep(0.01)


def setting_up(process):
    """说了要训练什么，正在建网络。"""
    os.read(process.stdout.fileno(), 1)


@pytest.mark.skipif(sys.platform != "linux", reason="要看 /proc")
@pytest.mark.parametrize("moment", [loading_torch, setting_up])
@against(COMMAND, SCRIPT)
def test_G9_interrupt_of_the_command_in_its_first_seconds(subject, moment, tmp_path):
    process = subprocess.Popen(subject, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=os.environ | {"COMPANION_RUNS": str(tmp_path)})
    try:
        moment(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode and b"Traceback" not in err, err.decode()
    assert len(re.findall("中断", (out + err).decode())) <= 2
    assert all(run.ended == "interrupted" for run in saved_runs(folder=tmp_path))
