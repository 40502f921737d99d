"""Best of N: draw N captions from the policy before GRPO, and let a judge pick one.

    python examples/grpo/best_of_n.py work

Reads `work/policy` and `work/judges` (`run.py` makes them), draws 64 captions of each held-out picture, and writes
`best_of_n.jsonl` (how often each pick was true, a picture at a time), `best_of_n.svg`, and prints the table.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import world
from judges import KINDS, make_judge
from matplotlib.figure import Figure
from measure import TestScene, load_policy, load_scenes, sample_once
from plots import dress, save
from results import markdown, read_lines

from yoj_cli import Judge
from yoj_cli.groups import Failure

SIZES = (1, 2, 4, 8, 16, 32, 64)
MAX_DRAWS, MAX_DRAWN = 4, 16
"""Of a size N, up to so many separate groups of a picture's 64 captions are read, of so many captions or one group."""
N_RESAMPLES = 10_000


@dataclass(frozen=True)
class Way:
    """One way to pick: which judge, with what options, and the colour of its line."""

    name: str
    judge: str
    options: dict[str, int]
    colour: str


WAYS = (
    Way("multi", "multi", {}, "#0072B2"),
    Way("single", "single", {}, "#D55E00"),
    Way("multi, --orders 4", "multi", {"orders": 4}, "#56B4E9"),
    Way("multi, --window 4", "multi", {"window": 4}, "#009E73"),
)
OTHERS = {"majority": "#CC79A7", "random": "#555555", "any is true": "#BBBBBB"}
"""The most frequent caption (by what it says, not how), any one, and the limit: a pick that knows the truth."""


@dataclass(frozen=True)
class Draw:
    """N captions of a picture, and which of them are true."""

    scene: TestScene
    texts: tuple[str, ...]
    is_true: tuple[bool, ...]


def main() -> None:
    """Read the options; what was measured already is not measured again."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("--scenes", type=int, default=40, help="held-out pictures")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="N")
    args = parser.parse_args()
    torch.set_num_threads(1)
    results = args.work / "best_of_n.jsonl"
    measure_all(args.work, results, args.scenes, args.sizes)
    rows = read_lines(results)
    print(table(rows))
    draw(rows, args.work / "best_of_n.svg")


def measure_all(work: Path, results: Path, n_scenes: int, sizes: Sequence[int]) -> None:
    """Add the lines that are missing: a way, N, and for each picture the share of its picks that were true."""
    known = {row["way"] for row in read_lines(results)}
    draws = all_draws(work, n_scenes, sizes)
    if "random" not in known:
        write(results, "random", {n: [[mean_truth(d) for d in row] for row in draws[n]] for n in sizes})
    for name, pick in {"majority": pick_most_frequent, "any is true": pick_true}.items():
        if name not in known:
            picked = {n: [[pick(d) for d in row] for row in draws[n]] for n in sizes}
            write(results, name, {n: truths(draws[n], picked[n]) for n in sizes})
    for way in WAYS:
        if way.name not in known:
            kind = KINDS[way.judge]
            judge = Judge.load(str(make_judge(work, kind)), device="cpu", mode=kind.mode, **way.options)
            write(results, way.name, {n: truths(draws[n], pick_best(judge, draws[n])) for n in sizes})
            judge.close()


def all_draws(work: Path, n_scenes: int, sizes: Sequence[int]) -> dict[int, list[list[Draw]]]:
    """For each N, of each picture its separate draws of N captions."""
    scenes = load_scenes(n_scenes)
    n_most = max(sizes)
    samples = sample_once(
        work / f"captions_{n_most}.json", load_policy(work / "policy"), scenes, n_most, seed=64
    )
    found: dict[int, list[list[Draw]]] = {}
    for n in sizes:
        starts = range(0, n_most, n)[: max(1, min(MAX_DRAWS, MAX_DRAWN // n))]
        found[n] = [
            [build_draw(scene, texts[start : start + n]) for start in starts]
            for scene, texts in zip(scenes, samples.texts, strict=True)
        ]
    return found


def build_draw(scene: TestScene, texts: Sequence[str]) -> Draw:
    """Look up which captions are true."""
    return Draw(scene, tuple(texts), tuple(world.is_true(text, scene.truth) for text in texts))


def mean_truth(draw: Draw) -> float:
    """How often a pick at random is true."""
    return float(np.mean(draw.is_true))


def pick_true(draw: Draw) -> int:
    """A true one if there is one."""
    return draw.is_true.index(True) if any(draw.is_true) else 0


def pick_most_frequent(draw: Draw) -> int:
    """The first of those that say what most say; captions that cannot be read say nothing and never win a vote."""
    said = [
        None if (scene := world.parse_caption(text)) is None else world.scenes.what_is_told(scene, world.TOLD)
        for text in draw.texts
    ]
    votes = Counter(each for each in said if each is not None)
    return said.index(votes.most_common(1)[0][0]) if votes else 0


def pick_best(judge: Judge, draws: Sequence[Sequence[Draw]]) -> list[list[int]]:
    """What the judge scores highest; a lone caption needs no judge."""
    if len(draws[0][0].texts) == 1:
        return [[0] * len(row) for row in draws]
    verdicts = judge.score_groups(records(draws))
    return [[_best(next(verdicts)) for _ in row] for row in draws]


def records(draws: Sequence[Sequence[Draw]]) -> Iterator[dict[str, object]]:
    """Groups as a line of JSON would give them, with the picture itself."""
    for row in draws:
        for draw in row:
            yield {"prompt": world.PROMPT, "image": draw.scene.picture, "responses": list(draw.texts)}


def _best(verdict: object) -> int:
    if isinstance(verdict, Failure):
        raise verdict.error
    return int(verdict.best)  # type: ignore[attr-defined]


def truths(draws: Sequence[Sequence[Draw]], picks: Sequence[Sequence[int]]) -> list[list[float]]:
    """1 for a pick that is true, else 0: of each picture, for each of its draws."""
    return [
        [float(draw.is_true[i]) for draw, i in zip(row, chosen, strict=True)]
        for row, chosen in zip(draws, picks, strict=True)
    ]


def write(results: Path, name: str, found: dict[int, list[list[float]]]) -> None:
    """A line for each N, all at once: of each picture the mean over its draws."""
    lines = []
    for n, rows in found.items():
        shares = [round(float(np.mean(row)), 4) for row in rows]
        lines.append({"way": name, "n": n, "true": shares})
        print(json.dumps({"way": name, "n": n, "true": round(float(np.mean(shares)), 4)}), flush=True)
    with results.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def interval(shares: Sequence[float]) -> tuple[float, float, float]:
    """Mean over pictures and its 95 % interval: 10,000 bootstrap resamples of pictures."""
    values = np.asarray(shares)
    chosen = np.random.default_rng(0).integers(len(values), size=(N_RESAMPLES, len(values)))
    low, high = np.quantile(values[chosen].mean(1), [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def table(rows: Sequence[dict[str, object]]) -> str:
    """Per cent of picks that are true, with intervals; a row for each way."""
    sizes = sorted({int(row["n"]) for row in rows})  # type: ignore[call-overload]
    body = []
    for name in (*(way.name for way in WAYS), *OTHERS):
        found = {row["n"]: interval(row["true"]) for row in rows if row["way"] == name}  # type: ignore[arg-type]
        cells = [
            f"{100 * mean:.0f} [{100 * low:.0f}, {100 * high:.0f}]"
            for mean, low, high in (found[n] for n in sizes)
        ]
        body.append([name, *cells])
    return markdown(["picked by", *(f"N={n}" for n in sizes)], body)


def draw(rows: Sequence[dict[str, object]], picture: Path) -> None:
    """Accuracy against N, with the intervals of the judges as bands."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    styles = {way.name: way.colour for way in WAYS} | OTHERS
    for name, colour in styles.items():
        found = sorted((int(row["n"]), *interval(row["true"])) for row in rows if row["way"] == name)  # type: ignore[call-overload,arg-type]
        n, mean, low, high = np.array(found).T
        axes.plot(
            n,
            mean,
            color=colour,
            marker="o",
            markersize=3,
            linestyle="--" if name in OTHERS else "-",
            label=name,
        )
        if name in ("multi", "single"):
            axes.fill_between(n, low, high, color=colour, alpha=0.12, linewidth=0)
    axes.set_xscale("log", base=2)
    sizes = sorted({int(row["n"]) for row in rows})  # type: ignore[call-overload]
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.set_xlabel("N, captions to pick from")
    axes.set_title("True captions among the picks, share", fontsize=10)
    axes.set_ylim(0, 1)
    dress(axes)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    save(figure, picture)


if __name__ == "__main__":
    main()
