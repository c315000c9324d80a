"""笔记里的话，逐句验。"""

from helpers.arguments import flag


def check(sentence: str, holds: bool, evidence: object = "") -> None:
    """印出一句话和它成立（✓）与否（✗），后面是算出来的依据。"""
    said = f" 〔{evidence}〕" if not isinstance(evidence, str) or evidence else ""  # 数组与 "" 比，是一格一格比
    print(f"{'✓' if flag('holds', holds) else '✗'} {sentence}{said}")
