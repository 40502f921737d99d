"""Fuzz what strangers hand in, for some minutes: python -m tests.fuzz [--minutes 20] [--seed S] [--only NAME]

Ends with a table of what was tried and, on the last line of standard output, the same as JSON; exit 1 where something
failed. A picture or clip that crashes its decoder is kept in tests/data/broken_media.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict

from tests.fuzz.chats import CHATS, spell_everything
from tests.fuzz.checkpoints import CHECKPOINTS
from tests.fuzz.media import MEDIA
from tests.fuzz.plans import PLANS_TARGET
from tests.fuzz.records import RECORDS
from tests.fuzz.target import Outcome, fuzz
from tests.limited import warm_up

# Checkpoints first: their process forks, and must have no threads yet.
TARGETS = {each.name: each for each in (CHECKPOINTS, RECORDS, CHATS, PLANS_TARGET, MEDIA)}


def fuzz_all(minutes: float, first_seed: int, names: Sequence[str] = tuple(TARGETS)) -> list[Outcome]:
    """Fuzz each target for its share of the time."""
    chosen = [target for name, target in TARGETS.items() if name in names]
    whole = sum(target.share for target in chosen)
    found = []
    warm_up()  # importing the libraries is nobody's time
    for target in chosen:
        if target is CHATS:
            found.append(spell_everything())
        outcome = fuzz(target, seconds=60 * minutes * target.share / whole, first_seed=first_seed)
        found.append(outcome)
    for outcome in found:
        for failure in outcome.failures:
            print(f"--- {outcome.name}, {failure}", file=sys.stderr, flush=True)  # noqa: T201
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    parser.add_argument("--only", choices=sorted(TARGETS), nargs="+", default=list(TARGETS))
    given = parser.parse_args()
    first_seed = random.randrange(1 << 32) if given.seed is None else given.seed
    outcomes = fuzz_all(given.minutes, first_seed, given.only)
    print(f"seed {first_seed}\n")  # noqa: T201
    print("| what | inputs | failures | seconds |\n|---|---|---|---|")  # noqa: T201
    for each in outcomes:
        print(f"| {each.name} | {each.n_inputs:,} | {len(each.failures)} | {each.seconds:.0f} |")  # noqa: T201
    print(json.dumps({"seed": first_seed, "targets": [asdict(each) for each in outcomes]}))  # noqa: T201
    return int(any(each.failures for each in outcomes))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
