"""笔记里的话，逐句验。"""


def check(sentence: str, holds: bool, evidence: object = "") -> None:
    """印出一句话和它成立（✓）与否（✗），后面是算出来的依据。"""
    print(f"{'✓' if holds else '✗'} {sentence}" + (f" 〔{evidence}〕" if evidence != "" else ""))
