"""The judge as a library: python examples/library.py"""

from pathlib import Path

from yoj_cli import Judge

HERE = Path(__file__).parent

judge = Judge.load("demo", orders=2)
verdict = judge.score(
    images=[HERE / "pictures" / "scene-1.png"],
    responses=[
        "A red circle in the top left.",
        "In the center a red circle, in the top middle a purple square and in the bottom left a green star.",
        "A yellow star in the center.",
    ],
)
for index in verdict.order:
    print(f"{verdict.scores[index]:7.3f}  {verdict.p_best[index]:4.0%}  {verdict.group.responses[index]}")
