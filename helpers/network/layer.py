"""逐层清单的一行。"""

from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """一层的一次调用。

    name: 在网络里的名字，如 "3" 或 "4.1"；kind: 类名，如 "Conv2d"。
    in_shape, out_shape: 形状，第 0 维是批量。
    params: 参数个数，共享的参数只在第一次出现时计入。
    macs: 乘加次数，只算卷积和矩阵乘法，对整个批量。
    receptive_field: 输出的一个位置看得到的输入边长（像素）；None 表示整幅图像（展平或全局汇聚之后），
        或者说不清（上采样、转置卷积之后）。
    """

    name: str
    kind: str
    in_shape: Shape
    out_shape: Shape
    params: int
    macs: int
    receptive_field: int | None
