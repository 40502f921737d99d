"""A run of `yoj eval`: every set through every scorer, kept and shown as it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from yoj_cli.cli.input import build_media_options
from yoj_cli.cli.keeping import check_kept, keep_run, suffix_of
from yoj_cli.cli.look import stopped_by
from yoj_cli.cli.messages import Complaints
from yoj_cli.cli.progress import count_lines, show_loading, show_progress
from yoj_cli.config.evaluate import EvalConfig
from yoj_cli.config.io import InputConfig, OutputConfig
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.errors import InputError, UsageError, require
from yoj_cli.evaluate.compare import compare
from yoj_cli.evaluate.compare_tables import describe_comparison
from yoj_cli.evaluate.document import comparison_document, document_of
from yoj_cli.evaluate.evaluation import Evaluation, evaluate
from yoj_cli.evaluate.given import judge_by_scores
from yoj_cli.evaluate.judged import Judged, of_failure
from yoj_cli.evaluate.order import Reading
from yoj_cli.evaluate.paper import describe_paper, paper_rows
from yoj_cli.evaluate.saved import SavedRun, read_runs
from yoj_cli.evaluate.sets import PAPER, EvalSet, open_sets
from yoj_cli.evaluate.tables import describe
from yoj_cli.groups import Failure, Group
from yoj_cli.render.blocks import Block

Shown = tuple[list[Block], dict[str, Any]]
"""What is printed, as blocks and as one document."""


@dataclass(frozen=True)
class Scorer:
    """A judge, or a file of scores.

    Attributes:
        name: what tables call it.
        suffix: of the folder that keeps a run; "" for the judge.
        reading: in which order it read, in words.
        score: groups to judged ones, in their order.
        description: of the judge.
    """

    name: str
    suffix: str
    reading: str
    score: Callable[[Iterable[Group | Failure]], Iterator[Judged | Failure]]
    description: dict[str, Any] = field(default_factory=dict)


def run(
    names: Sequence[str], scores: Sequence[Path], config: EvalConfig, judge: JudgeConfig, media: InputConfig
) -> tuple[int, Shown]:
    """Evaluate every scorer on every set.

    Returns:
        how many groups failed, and what is printed.
    Raises:
        YojError: of the first group that fails, unless `config.on_error` is "skip".
    """
    sets = open_sets(names, data=config.data, limit=config.limit, media_root=media.media_root, limits=media)
    has_judge = not scores or judge.model is not None
    if "-" in names and len(scores) + has_judge > 1:
        raise UsageError("standard input can be read once only", hint="Give a file, or one scorer.")
    check_kept(sets, scores, config, has_judge=has_judge)
    scorers = [_given(path) for path in scores]
    if has_judge:
        scorers.insert(0, _load(judge, config, media))
    evaluations = [[_evaluate(each, scorer, config) for scorer in scorers] for each in sets]
    n_failed = sum(each.n_failed for found in evaluations for each in found)
    return n_failed, _shown(evaluations, is_paper="paper" in names)


def evaluate_saved(paths: Sequence[Path], config: EvalConfig) -> Shown:
    """Every figure of saved runs once more; runs on the same set stand in one table."""
    from yoj_cli.evaluate.plot import draw

    by_name: dict[str, list[Evaluation]] = {}
    for run in read_runs(paths):
        found = evaluate(
            run.judged(), run.benchmark, scorer=run.scorer, reading=_reading_of(run), judge=run.judge
        )
        same = by_name.setdefault(run.name, [])
        same.append(found)
        if config.plot is not None:
            draw(found, config.plot / (run.name if len(same) == 1 else f"{run.name}-{len(same)}"))
    evaluations = list(by_name.values())
    return _shown(evaluations, is_paper=set(PAPER) <= set(by_name))


def compare_saved(first: Path, second: Path) -> Shown:
    """Two saved runs, set by set.

    Raises:
        UsageError: scipy, which has the test, is not installed.
        InputError: they have no set, or no group, in common.
    """
    require("--compare", "scipy", extra="eval")
    pairs = [(one, other) for one in read_runs([first]) for other in read_runs([second])]
    matching = [(one, other) for one, other in pairs if one.name == other.name or len(pairs) == 1]
    if not matching:
        raise InputError(
            f"{first} and {second} have no set in common",
            hint="Compare two runs on the same benchmark or file.",
        )
    found = [(one, other, compare(one.judged(), other.judged(), one.benchmark)) for one, other in matching]
    blocks: list[Block] = []
    for one, other, each in found:
        labels = [
            str(path) if run.scorer == str(path) else f"{run.scorer} in {path}"
            for run, path in ((one, first), (other, second))
        ]
        blocks += describe_comparison(one.name, labels[0], labels[1], each)
    return blocks, comparison_document(
        [(one.name, str(first), str(second), each) for one, other, each in found]
    )


def _evaluate(each: EvalSet, scorer: Scorer, config: EvalConfig) -> Evaluation:
    """One scorer on one set: read, score, keep, compute."""
    run = SavedRun(
        name=each.name,
        title=each.benchmark.title,
        source=each.source,
        folder=str(Path(each.folder).absolute()),
        scorer=scorer.name,
        reading=scorer.reading,
        judge=scorer.description,
        limit=config.limit,
    )
    complaints, judged = Complaints(), []
    paths = [each.source] if Path(each.source).is_file() else ["-"]
    with keep_run(run, scorer.suffix, config) as keeper:
        results = scorer.score(each.groups())
        quiet = OutputConfig(quiet=config.quiet)
        total = partial(count_lines, paths, config.limit)
        for item in show_progress(results, quiet, total=total, pause=False):
            if isinstance(item, Failure):
                if config.on_error == "stop":
                    raise stopped_by(item.error)
                complaints.add(item.error)
            found = of_failure(item) if isinstance(item, Failure) else item
            keeper.add(found)
            judged.append(replace(found, record={}, group=None))  # pictures may be in it
        complaints.finish()
        _check_gold(judged, each)
        evaluation = evaluate(judged, each.benchmark, scorer=run.scorer, reading=run.reading, judge=run.judge)
        keeper.finish(evaluation)
    return evaluation


def _check_gold(judged: Sequence[Judged], each: EvalSet) -> None:
    if not judged:
        raise InputError("holds no groups", where=each.source)
    if not any(one.is_gold for one in judged) and any(one.scores for one in judged):
        raise InputError(
            "no group has a ranking to compare with",
            where=each.source,
            hint="Give 'rankings' (1 = best), 'ratings' (higher is better), or 'chosen' and 'rejected'.",
        )


def _load(judge: JudgeConfig, config: EvalConfig, media: InputConfig) -> Scorer:
    with show_loading(judge, OutputConfig(quiet=config.quiet)):
        from yoj_cli.evaluate.score import judge_groups
        from yoj_cli.run.load import load_judge

        loaded = load_judge(judge)
    reading = Reading(config.as_given, judge.seed, judge.orders, config.reversal)
    options = build_media_options(media)
    return Scorer(
        name=str(loaded.checkpoint.name),
        suffix="",
        reading="each response alone" if loaded.mode == "single" else reading.describe(),
        score=lambda groups: judge_groups(loaded, groups, reading, options),
        description=loaded.description,
    )


def _given(path: Path) -> Scorer:
    return Scorer(
        name=path.name,
        suffix=suffix_of(path),
        reading="by somebody else",
        score=lambda groups: judge_by_scores(groups, path),
    )


def _reading_of(run: SavedRun) -> str:
    return run.reading if run.is_complete else f"{run.reading}; NOT COMPLETE, the run was stopped"


def _shown(evaluations: Sequence[Sequence[Evaluation]], *, is_paper: bool) -> Shown:
    blocks = [block for found in evaluations for block in describe(found)]
    flat = [each for found in evaluations for each in found]
    if not is_paper:
        return blocks, document_of(flat)
    rows = [
        {"who": row.who, "published": row.is_published, "figures": dict(zip(PAPER, row.figures, strict=True))}
        | {"average": row.average}
        for row in paper_rows(flat)
    ]
    return blocks + describe_paper(flat), document_of(flat, paper=rows)
