"""怎样训练一个网络：只有一个循环。记下、诊断、存下这次训练在 experiments/，画曲线在 pictures/。"""
