"""The judge as a library: python examples/library.py"""

from pathlib import Path

from yoj_cli import Judge

HERE = Path(__file__).parent

judge = Judge.load("demo", orders=2)
verdict = judge.score(
    images=[HERE / "pictures" / "000000.png"],
    responses=["A red circle in the top left.", "A yellow star in the center.", "Nothing at all."],
)
for index in verdict.order:
    print(f"{verdict.scores[index]:7.3f}  {verdict.p_best[index]:4.0%}  {verdict.group.responses[index]}")
