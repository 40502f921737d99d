"""hh-rlhf: 170k pairs of whole dialogues, helpful and harmless, chosen by people.

Source: anthropics/hh-rlhf; Hub `Anthropic/hh-rlhf`. Licence: MIT.
Columns: `chosen, rejected`, each a dialogue "\\n\\nHuman: … \\n\\nAssistant: …". What both begin with is the prompt, a
conversation where it has several turns; the last answers are the responses. A few pairs part earlier and are left out.
"""

from __future__ import annotations

from yoj_cli.records.sets.columns import pair_of, text_column
from yoj_cli.records.sets.dialogue import parse_dialogue
from yoj_cli.records.sets.public_set import LeftOutError, PublicSet, Record, Row


def convert(row: Row) -> Record:
    chosen = parse_dialogue(text_column(row, "the better dialogue", "chosen"))
    rejected = parse_dialogue(text_column(row, "the other dialogue", "rejected"))
    if not chosen or not rejected:
        raise LeftOutError("a dialogue does not begin with 'Human:'")
    return pair_of(chosen, rejected)


SET = PublicSet(
    name="hh-rlhf",
    title="hh-rlhf",
    hub_id="Anthropic/hh-rlhf",
    revision="",
    licence="MIT",
    files=("h*-*/train.jsonl.gz", "*train*.jsonl*", "*.jsonl*", "*.parquet"),
    media=(),
    n_responses=2,
    is_verified=True,
    basis="the released file harmless-base/test.jsonl.gz, read whole",
    convert=convert,
)
