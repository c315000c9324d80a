"""训练 7.1 节的 LeNet，把权重记在 tools/site/lenet.json：网页里的画板用它，做网页时什么也不训练。

    python tools/record_lenet.py
"""

import base64
import json
import platform
from datetime import date

import torch
from record import commit, say
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from helpers.book.sections import load
from helpers.book.source import source
from helpers.data.fashion import Batches, fashion_mnist
from helpers.experiments.atomic import writing
from helpers.machine.device import describe_machine
from helpers.paths import ROOT
from helpers.training.loop import accuracy, fit

SECTION, NAME, SEED = "7.1", "lenet", 0


def main() -> None:
    """用书上的配方训练一次；存 float16，约 123 KB，再少就有答案变了。"""
    plan = load(SECTION).plan.book
    train, test = fashion_mnist(plan.batch_size, plan.size)
    torch.manual_seed(SEED)
    net = plan.make(**plan.widths).apply(plan.init).to(train.device)
    for point in fit(net, train, test, lr=plan.lr, num_epochs=plan.num_epochs, dtype=torch.float32):
        if point.test_acc is not None:
            say(f"第 {point.epoch:.0f} 轮：测试精度 {point.test_acc:.4f}")
    net.to(memory_format=torch.contiguous_format)
    exact, full = answers(net, test), accuracy(net, test)
    weights = parameters_to_vector(net.parameters()).detach().half()
    vector_to_parameters(weights.float(), net.parameters())
    changed = int((answers(net, test) != exact).sum())
    found = {"section": SECTION, "name": NAME, "settings": plan.settings, "seed": SEED,
             "test_acc": accuracy(net, test), "test_acc_float32": full, "changed_answers": changed,
             "recorded": date.today().isoformat(), "machine": describe_machine(),
             "versions": {"python": platform.python_version(), "torch": torch.__version__.split("+")[0]},
             "command": "python tools/record_lenet.py", "commit": commit(), "code": source(SECTION, NAME),
             "weights": base64.b64encode(weights.cpu().numpy().tobytes()).decode()}
    with writing(ROOT / "tools" / "site" / "lenet.json") as file:
        file.write((json.dumps(found, ensure_ascii=False, indent=1) + "\n").encode())
    say(f"测试精度 {full:.4f}，存成 float16 之后 {found['test_acc']:.4f}，{changed} 张的答案变了")


def answers(net: nn.Module, test: Batches) -> Tensor:
    """每张测试图的答案，(张,)。"""
    with torch.no_grad():
        return net.eval()(test.scale(test.X)).argmax(1)


if __name__ == "__main__":
    main()
