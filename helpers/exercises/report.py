"""做到哪里了，和全部答案的一份文件。"""

from collections.abc import Iterator
from pathlib import Path

from helpers.exercises.exercise import Exercise
from helpers.exercises.guesses import Guess
from helpers.exercises.progress import noted
from helpers.exercises.shelf import SHELF, exercises, guesses
from helpers.pictures.canvas import BLUE, EDGE, Picture, canvas
from helpers.pictures.png import squeeze


class Progress:
    """一章做到哪里了：`states` 是每一节的练习和先猜各是什么样，见 `_state`。不打分。"""

    def __init__(self) -> None:
        self.states = {section: ([_state(each) for each in exercises(section)],
                                 [_state(each) for each in guesses(section)]) for section in SHELF}

    def __str__(self) -> str:
        lines = ["✓ 做对了，· 试过，- 还没有做；先猜只记猜对没有（✓ ✗），～ 是没有猜。"]
        for section, (solved, guessed) in self.states.items():
            lines.append(f"{section}  练习 {''.join(solved)} {solved.count('✓')}/{len(solved)}"
                         + (f"  先猜 {''.join(guessed)}" if guessed else ""))
        return "\n".join(lines)

    def __repr__(self) -> str:
        return repr(self.picture())

    def picture(self) -> Picture:
        """每节一行，练习是方块，先猜是圆：实心的做对（猜对）了，半满的试过，空的还没有做。"""
        with canvas(6.4, 0.32 * len(self.states) + 0.9, "练习做到哪里了", layout="tight") as drawn:
            axes = drawn.figure.subplots()
            for y, (solved, guessed) in enumerate(self.states.values()):
                for marker, start, states in (("s", 0, solved), ("o", self._longest + 1, guessed)):
                    for x, state in enumerate(states, start):
                        axes.plot([x], [y], marker, ms=11, mec=EDGE, mfc=BLUE, mfcalt="white",
                                  fillstyle={"✓": "full", "-": "none", "～": "none"}.get(state, "left"))
            axes.set_yticks(range(len(self.states)), list(self.states))
            axes.set_xticks([0, self._longest + 1], ["练习", "先猜"])
            axes.set(xlim=(-0.6, self._longest + 4.6), ylim=(len(self.states) - 0.5, -0.5))
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
        return drawn

    @property
    def _longest(self) -> int:
        return max(len(solved) for solved, _ in self.states.values())

    def _repr_mimebundle_(self, **options: object) -> object:
        return self.picture()._repr_mimebundle_(**options)


def _state(each: Exercise | Guess) -> str:
    """✓ 做对（猜对）了，· 试过，✗ 猜错，～ 没有猜就看了，- 还没有做。"""
    found = noted(each.key)
    if isinstance(each, Exercise):
        return "✓" if found.get("solved") is True else "·" if "tries" in found else "-"
    if "guess" not in found:
        return "-"
    return "～" if found["guess"] is None else "✓" if found.get("right") is True else "✗"


def progress() -> Progress:
    """练习做到哪里了，先猜猜对了几个；在笔记本里是一张小图，`print` 出来是文字。"""
    return Progress()


def document(folder: Path | None = None) -> str:
    """全部练习的问题、提示和答案，一份 Markdown，与笔记本里的出自同一处。

    folder: 图存在这个文件夹里，文字里指过去；没有就只写图在哪里看。
    """
    return "\n".join(["# 练习的答案", "", "先自己做；每一题在笔记本里都有检查和三步提示。", *_chapters(folder)])


def write_document(folder: Path) -> Path:
    """全部答案写进一个文件夹，图在旁边；返回那份 Markdown。写不了时抛出 OSError。"""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "答案.md"
    file.write_text(document(folder) + "\n", encoding="utf-8")
    return file


def _chapters(folder: Path | None) -> Iterator[str]:
    for section in SHELF:
        yield f"\n## {section}"
        for i, each in enumerate(exercises(section), start=1):
            found = each.solution()
            yield f"\n### {section} 练习 {i}（{each.kind}）\n\n{each.question}\n"
            yield from (f"提示 {n}：{hint}  " for n, hint in enumerate(each.hints, start=1))
            yield f"\n**答案。** {found.text}"
            if isinstance(found.picture, Picture):
                yield f"\n{_shown(found.picture, f'{section}-{i}.png', folder)}"
            elif found.picture is not None:
                yield f"\n```text\n{found.picture!r}\n```"


def _shown(picture: Picture, name: str, folder: Path | None) -> str:
    """一张图：存成文件，指过去；没有文件夹就说在哪里看。"""
    if folder is None:
        return f"{picture!r} 在笔记本里看；`python -m helpers solutions --to 文件夹` 连图一起写。"
    (folder / name).write_bytes(squeeze(picture.png))
    return f"![{picture.title}]({name})"
