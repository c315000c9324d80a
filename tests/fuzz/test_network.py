"""随机的网络：逐层清单、感受野、走得通的边长与标准答案相同；借过的网络一点没变。"""

from hypothesis import given
from support.networks import networks
from support.probe import check_field


@given(networks())
def test_receptive_field_is_right_or_unknown(case):
    check_field(*case)
