"""The whole experiment, from nothing to its table and its curves; what is there already is not made again.

    python examples/grpo/run.py work                                         # two judges, three seeds
    python examples/grpo/run.py work --judges multi --seeds 0                # one run
    python examples/grpo/run.py work --judges multi-own single-own --seeds 0

Policy, judges, six runs of GRPO, each in a process of its own on one thread, and what each policy can do afterwards.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import world
from grpo import add_settings
from judges import KINDS, make_judge
from make_policy import make_policy
from measure import (
    GENERATIONS,
    Policy,
    Samples,
    TestScene,
    load_policy,
    load_scenes,
    measure,
    rounded,
    sample_captions,
    sample_once,
)
from results import read_lines

from yoj_cli.rewards import GroupReward

HERE = Path(__file__).parent


def main() -> None:
    """Read the options and do what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder for everything")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--judges", nargs="+", choices=KINDS, default=["multi", "single"])
    add_settings(parser)
    parser.add_argument("--scenes", type=int, default=100, help="held-out pictures to measure on")
    parser.add_argument("--policy-steps", type=int, default=200, help="of each of the policy's two trainings")
    parser.add_argument("--groups", type=int, default=2000, help="that a judge is trained on")
    args = parser.parse_args()
    torch.set_num_threads(1)
    policy = args.work / "policy"
    make_policy(policy, args.policy_steps, args.policy_steps)
    judges = {name: make_judge(args.work, KINDS[name], args.groups) for name in args.judges}
    for seed in args.seeds:
        for name, judge in judges.items():
            out = run_folder(args.work, name, seed)
            run_grpo(policy, judge, KINDS[name].mode, seed, out, args)
    measure_all(args.work, judges, args.seeds, args.scenes)
    for script in ("results.py", "plots.py"):
        subprocess.run([sys.executable, str(HERE / script), str(args.work)], check=True)


def run_folder(work: Path, name: str, seed: int) -> Path:
    """Where a run's policy and curves lie."""
    return work / "runs" / f"{name}_{seed}"


def run_grpo(
    policy: Path, judge: Path, mode: str, seed: int, out: Path, settings: argparse.Namespace
) -> None:
    """One run in a process of its own, on one thread: no run depends on another, nor on the machine's cores."""
    if (out / "curves.jsonl").exists():
        return
    options = {
        "--policy": policy,
        "--judge": judge,
        "--mode": mode,
        "--seed": seed,
        "--out": out,
        "--steps": settings.steps,
        "--pictures": settings.pictures,
        "--learning-rate": settings.learning_rate,
        "--scheduler": settings.scheduler,
        "--beta": settings.beta,
    }
    command = [
        sys.executable,
        str(HERE / "grpo.py"),
        *(str(word) for pair in options.items() for word in pair),
    ]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def measure_all(work: Path, judges: dict[str, Path], seeds: Sequence[int], n_scenes: int) -> None:
    """Write `results.jsonl`: the policy before, then after each run."""
    results = work / "results.jsonl"
    known = {(row["run"], row.get("seed")) for row in read_lines(results)}
    scenes = load_scenes(n_scenes)
    before = load_policy(work / "policy")
    samples = sample_once(work / "before.json", before, scenes, GENERATIONS)
    if ("before", None) not in known:
        append(results, {"run": "before", **rounded(measure(before, scenes, samples))})
    for name, judge in judges.items():
        reward = GroupReward(
            model=str(judge), mode=KINDS[name].mode, num_generations=GENERATIONS, device="cpu"
        )
        for seed in seeds:
            if (name, seed) not in known:
                line = {"run": name, "seed": seed}
                line |= measure_run(
                    load_policy(run_folder(work, name, seed)), before, scenes, samples, reward
                )
                append(results, line)


def measure_run(
    after: Policy, before: Policy, scenes: Sequence[TestScene], old: Samples, reward: GroupReward
) -> dict[str, float]:
    """Figures after a run, and what its own judge gives captions from before and after it.

    `reward` and `reward_before` are means over groups as GRPO had them. A group of half old and half new captions gives
    `preferred`: how often a new one scores above an old one (half for a tie).
    """
    new = sample_captions(after, scenes, GENERATIONS, before=before)
    half = GENERATIONS // 2
    mixed = [a[:half] + b[:half] for a, b in zip(old.texts, new.texts, strict=True)]
    wins = [
        (n > o) + (n == o) / 2
        for row in score_captions(reward, scenes, mixed)
        for o in row[:half]
        for n in row[half:]
    ]
    found = {
        "reward_before": mean(score_captions(reward, scenes, old.texts)),
        "reward": mean(score_captions(reward, scenes, new.texts)),
        "preferred": sum(wins) / len(wins),
    }
    return rounded(measure(after, scenes, new)) | {name: round(value, 5) for name, value in found.items()}


def score_captions(
    reward: GroupReward, scenes: Sequence[TestScene], texts: Sequence[Sequence[str]]
) -> list[list[float]]:
    """What the judge gives groups of GENERATIONS captions, called as the trainer calls it."""
    rows = [(scene.picture, text) for scene, group in zip(scenes, texts, strict=True) for text in group]
    found = reward(
        prompts=[[{"role": "user", "content": world.PROMPT}] for _ in rows],
        completions=[[{"role": "assistant", "content": text}] for _, text in rows],
        image=[picture for picture, _ in rows],
    )
    scores = [float("nan") if score is None else score for score in found]
    return [scores[start : start + GENERATIONS] for start in range(0, len(scores), GENERATIONS)]


def mean(scores: Sequence[Sequence[float]]) -> float:
    """Over all captions that have a score."""
    found = [score for group in scores for score in group if score == score]
    return sum(found) / len(found)


def append(path: Path, line: dict[str, float | str]) -> None:
    """Add a line, and print it."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
