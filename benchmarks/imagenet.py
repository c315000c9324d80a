"""ImageNet 训练一轮，在 1、8、64 块 GPU 上要多久：由公开的单卡速度和一个公式估计，并与公开的多卡速度核对。

    T(N) = 图片 / (N · v · e(N))，  e(N) = 1 / (1 + x / t)，  t = B / v，  x = 2 (N - 1) / N · 4P / W

v: 一块 GPU 每秒训练几张；B: 每块 GPU 的批量；t: 一步的时间；x: 环形规约求梯度平均的时间，每块卡收发 2 (N-1)/N 份
float32 的梯度（4P 字节，P 是参数个数）；W: 每块卡到下一块卡的带宽。
假设：批量每块卡不变；通信一点也没有藏在反向传播后面（实际会藏一部分）；读图跟得上。
"""

from dataclasses import dataclass

IMAGES = 1_281_167  # ILSVRC 2012 的训练图片
W = 10e9  # 字节每秒：PCIe 4.0 或 100 Gb/s 的网卡，大致如此
BATCH = 256


@dataclass(frozen=True)
class Speed:
    """一个网络在一块 GPU 上：每秒张数、参数（百万）、速度是不是由别的卡上的比例推出来的。"""

    network: str
    images_per_second: float
    params: float
    guessed: bool = False


# RTX 3090，自动混合精度，channels_last，224×224；出处：huggingface/pytorch-image-models
# results/benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv。那里没有的三个由同一块卡上与 ResNet-18 的速度比推出：
# AlexNet 5.2（RTX 2080，ggg17226/rtx2080-dl-benchmark），NiN 1.94（Titan X，knjcode/mxnet-finetuner），
# GoogLeNet 0.72–1.14（V100，dmikushin/cnn-benchmarks；RTX 2080）取中间。
RESNET18 = 3481.78
SPEEDS = [Speed("AlexNet", 5.2 * RESNET18, 61.10, True), Speed("VGG-11", 954.03, 132.86),
          Speed("NiN", 1.94 * RESNET18, 7.6, True), Speed("GoogLeNet", 0.93 * RESNET18, 6.62, True),
          Speed("ResNet-18", RESNET18, 11.69), Speed("DenseNet-121", 913.65, 7.98)]

# 公开的多卡效率：(网络, 卡数, 每块卡的批量, 一块卡的速度, N 块卡的速度, 参数百万, 带宽)
# P100 的 DGX-1：tensorflow/docs_src/performance/benchmarks.md，带宽取使 VGG-16、批量 64 恰好相符的 16.7 GB/s；
# V100、每台 8 块、一块 100 Gb/s 的网卡：Oneflow-Inc/DLPerf，PyTorch DDP 一栏，带宽就是网卡的 12.5 GB/s。
PUBLISHED = [("ResNet-50", 8, 64, 219, 1734, 25.56, 16.7e9), ("VGG-16", 8, 64, 154, 1081, 138.36, 16.7e9),
             ("VGG-16", 8, 32, 144, 820, 138.36, 16.7e9), ("AlexNet", 8, 512, 2987, 17822, 61.10, 16.7e9),
             ("ResNet-50", 16, 128, 354.40, 5307.21, 25.56, 12.5e9),
             ("ResNet-50", 32, 128, 354.40, 10632.33, 25.56, 12.5e9)]


def efficiency(gpus: int, batch: int, images_per_second: float, params: float, bandwidth: float = W) -> float:
    """e(N)：N 块卡的速度是一块卡的 N 倍的几成。params: 百万。"""
    step = batch / images_per_second
    exchange = 2 * (gpus - 1) / gpus * 4e6 * params / bandwidth
    return 1 / (1 + exchange / step)


def epoch(speed: Speed, gpus: int) -> float:
    """一轮多少秒。"""
    return IMAGES / (gpus * speed.images_per_second * efficiency(gpus, BATCH, speed.images_per_second, speed.params))


def table() -> str:
    """README 里的两张表。"""
    lines = ["| 网络（ImageNet 版） | 一块 RTX 3090 每秒 | 参数 | 1 块 | 8 块 | 64 块 |", "|---|---|---|---|---|---|"]
    for speed in SPEEDS:
        times = " | ".join(_show(epoch(speed, gpus)) for gpus in (1, 8, 64))
        lines.append(f"| {speed.network} | {'约 ' if speed.guessed else ''}{speed.images_per_second:,.0f} 张 | "
                     f"{speed.params:.1f} M | {times} |")
    lines += ["", "| 核对：公开的多卡训练 | 公开的效率 | 公式 |", "|---|---|---|"]
    for network, gpus, batch, one, many, params, bandwidth in PUBLISHED:
        lines.append(f"| {network}，{gpus} 块，每块 {batch} 张 | {many / gpus / one:.2f} | "
                     f"{efficiency(gpus, batch, one, params, bandwidth):.2f} |")
    return "\n".join(lines)


def _show(seconds: float) -> str:
    return f"{seconds:.0f} 秒" if seconds < 120 else f"{seconds / 60:.0f} 分钟"


if __name__ == "__main__":
    print(table())
