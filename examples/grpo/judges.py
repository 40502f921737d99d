"""The judges that are compared: two ways to read, and two kinds of data.

All are trained by `yoj train` on the demo's backbone, with one recipe and (within a kind of data) on the same groups in
as many steps. `multi` reads all responses of a group together (loss ce), `single` each alone (Bradley-Terry). Both have
the demo's data alone, and have never seen the mistakes that the policy makes. `demo` is the embedded judge; `multi-own`
and `single-own` go on from it, on captions of the policy alone, ranked by their wrong facts, as people would rank them.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import world  # puts ../demo_judge on the path
from make_data import write_groups
from measure import GENERATIONS, load_policy, load_scenes, sample_texts

N_GROUPS, N_LABELLED = 2000, 800
"""Groups that a judge is trained on: the demo's, or pictures that the policy described."""
N_HOT, HOT = 2, 1.5
"""Of the captions of a picture, how many are drawn at what temperature: broken ones, as a policy may come to write."""
UNREADABLE = 9
"""Wrong facts that a caption counts for which is no sentence of this world: more than any other can have."""
RECIPE = (
    *("--device", "cpu", "--lora-r", "16", "--lora-alpha", "32", "--head-dim", "128"),
    *("--epochs", "1", "--batch-size", "16", "--learning-rate", "1e-3", "--no-gradient-checkpointing"),
    *("--save-every", "100000"),
)
DEMO_START = ("--base", "demo")
OWN_START = ("--init-from", "demo")
"""A fresh adapter on the embedded judge's backbone, or that judge itself."""


@dataclass(frozen=True)
class Kind:
    """How a judge is made; `name` is that of its folder, of its runs and in tables."""

    name: str
    mode: str
    saw_policy: bool


KINDS = {
    kind.name: kind
    for kind in (
        Kind("multi", "multi", False),
        Kind("single", "single", False),
        Kind("multi-own", "multi", True),
        Kind("single-own", "single", True),
        Kind("demo", "multi", False),
    )
}


def make_judge(work: Path, kind: Kind, n_groups: int = N_GROUPS) -> Path:
    """Train a judge, unless it is there already; its folder comes back. The embedded one is there always."""
    if kind.name == "demo":
        return Path("demo")
    out = work / "judges" / kind.name
    if (out / "reward_model_config.json").exists():
        return out
    if kind.saw_policy:
        data, start = labelled_groups(work, n_groups * N_LABELLED // N_GROUPS), OWN_START
    else:
        data, start = demo_groups(work, n_groups), DEMO_START
    command = ["train", str(data), "-o", str(out), "--mode", kind.mode, *start, *RECIPE]
    subprocess.run([sys.executable, "-m", "yoj_cli", *command], check=True)
    return out


def demo_groups(work: Path, n_groups: int) -> Path:
    """Groups about pictures, of the same stream that the embedded judge was trained on."""
    out = work / f"demo_{n_groups}"
    if not (out / "groups.jsonl").exists():
        split, seed = world.STREAMS["judge"]
        write_groups(out, n_groups, 0, (2, 8), split, seed)
    return out / "groups.jsonl"


def labelled_groups(work: Path, n_groups: int) -> Path:
    """Different captions of the policy, with their ranks; pictures whose captions are all as good are left out."""
    out = work / f"labelled_{n_groups}"
    path = out / "groups.jsonl"
    if path.exists():
        return path
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    scenes, policy = load_scenes(n_groups * 21 // 20, "label"), load_policy(work / "policy")
    plain = sample_texts(policy, scenes, GENERATIONS - N_HOT, seed=1)
    hot = sample_texts(policy, scenes, N_HOT, seed=2, temperature=HOT)
    lines: list[str] = []
    for scene, some, others in zip(scenes, plain, hot, strict=True):
        captions = list(dict.fromkeys([*some, *others]))
        wrong = [world.count_wrong(text, scene.truth) for text in captions]
        ranked = [UNREADABLE if n is None else n for n in wrong]
        if len(set(ranked)) > 1 and len(lines) < n_groups:
            name = f"pictures/{scene.index:06d}.png"
            scene.picture.save(out / name)
            ranks = [1 + sum(other < mine for other in ranked) for mine in ranked]
            line = {"prompt": world.PROMPT, "image": name, "responses": captions, "rankings": ranks}
            lines.append(json.dumps(line) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path
