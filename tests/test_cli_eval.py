"""`yoj eval` through the real command line, with the embedded judge on its own held-out scenes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run
from tests.processes import environment
from tests.recomputed import recompute
from tests.verdicts import HOSTILE
from yoj_cli.verdicts.verdict import p_best

HELD_OUT = Path(__file__).parents[1] / "examples" / "rankings" / "held-out.jsonl"
DEMO = ("-m", "demo", "--device", "cpu")
Lines = list[dict[str, Any]]


def read_lines(path: Path) -> Lines:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def figures_of(out: str) -> dict[str, Any]:
    """Headline and further figures by name."""
    (found,) = json.loads(out)["evaluations"]
    return {each["name"]: each for each in (*found["headline"], *found["figures"])}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved run of the embedded judge on its first held-out scenes."""
    from typer.testing import CliRunner

    from yoj_cli.cli.main import app, register

    folder = tmp_path_factory.mktemp("runs") / "today"
    register()
    done = CliRunner().invoke(
        app, ["eval", str(HELD_OUT), *DEMO, "--limit", "12", "--save", str(folder), "-q"]
    )
    assert done.exit_code == 0, done.output
    return folder


def simulate(n: int, *, seed: int, noise: float = 0.7, categories: str = "abc") -> Lines:
    """Verdict lines of a judge whose scores are the truth and noise."""
    truth, judge = random.Random(0), random.Random(seed)
    lines = []
    for number in range(n):
        quality = [truth.gauss(0, 1) for _ in range(4)]
        scores = [round(value + judge.gauss(0, noise), 2) for value in quality]
        lines.append(
            {
                "id": f"g{number}",
                "prompt": f"question {number // 2}",
                "responses": [f"{number} {place} {'x' * truth.randrange(9)}" for place in range(4)],
                "rankings": [1 + sum(other > own for other in quality) for own in quality],
                "category": categories[number % len(categories)],
                "scores": scores,
                "p_best": p_best(scores),
                "judge": {
                    "model": "simulated",
                    "mode": "multi",
                    "orders": 1,
                    "order": truth.sample(range(4), 4),
                    "reversed_scores": [round(score + judge.gauss(0, 0.3), 2) for score in scores],
                },
            }
        )
    return lines


def test_a_run_is_kept_whole(saved: Path) -> None:
    folder = saved / "held-out"
    names = {path.name for path in folder.iterdir()}
    pictures = {"reliability.png", "positions.png", "risk-coverage.png"}
    assert names == {"run.json", "verdicts.jsonl", "figures.json", "inspect.eval", *pictures}
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert (run["scorer"], run["is_complete"], run["source"]) == ("demo", True, str(HELD_OUT))
    assert run["judge"]["mode"] == "multi"


def test_a_kept_line_is_what_score_writes_with_the_order_that_was_read(saved: Path) -> None:
    inputs, lines = read_lines(HELD_OUT)[:12], read_lines(saved / "held-out" / "verdicts.jsonl")
    assert len(lines) == len(inputs)
    for given, line in zip(inputs, lines, strict=True):
        assert {key: line[key] for key in given} == given
        assert {"scores", "ranks", "p_best", "best", "judge"} <= set(line)
        assert sorted(line["judge"]["order"]) == [0, 1, 2, 3]
        assert len(line["judge"]["reversed_scores"]) == 4
    assert len({tuple(line["judge"]["order"]) for line in lines}) > 6


def test_a_saved_run_gives_the_same_figures_without_a_model(yoj: Run, saved: Path) -> None:
    code, out, _ = yoj("eval", "--from", saved, "--json")
    assert code == 0
    kept = json.loads((saved / "held-out" / "figures.json").read_text(encoding="utf-8"))
    # The lines hold the shortest digits of each score: the same float32, so the same figures but for the last digits.
    (mine,), (theirs,) = json.loads(out)["evaluations"], kept["evaluations"]
    assert mine["headline"] == theirs["headline"]
    assert mine["positions"] == theirs["positions"]
    assert mine["calibration"]["nll"]["value"] == pytest.approx(
        theirs["calibration"]["nll"]["value"], rel=1e-6
    )


def test_every_figure_is_what_an_independent_script_finds(yoj: Run, write_lines: Callable[..., Path]) -> None:
    lines = simulate(300, seed=1)
    lines[5]["scores"] = [1.0, 1.0, 0.5, 0.5]
    lines[5]["p_best"] = p_best(lines[5]["scores"])
    lines[6]["rankings"] = [1, 1, 1, 1]
    lines[7] = {key: lines[7][key] for key in ("id", "prompt", "responses", "rankings")} | {
        "error": {"type": "MediaError", "message": "gone"}
    }
    lines[8]["rankings"] = [1, 1, 3, 3]
    _, out, _ = yoj("eval", "--from", write_lines(*lines), "--json")
    (found,) = json.loads(out)["evaluations"]
    figures, theirs = figures_of(out), recompute(lines)
    assert (found["n_groups"], found["n_failed"], found["n_unranked"], theirs["groups"]) == (300, 1, 1, 298)
    for name in ("best of N", "pooled pairwise accuracy"):
        assert figures[name]["value"] == pytest.approx(theirs[name], abs=1e-12)
    assert (figures["pooled pairwise accuracy"]["n"], figures["pooled pairwise accuracy"]["n_ties"]) == (
        theirs["pairs"],
        theirs["ties"],
    )
    assert figures["Kendall's tau-b, whole rankings"]["value"] == pytest.approx(theirs["tau"], abs=1e-12)
    assert figures["Spearman's rho, whole rankings"]["value"] == pytest.approx(theirs["rho"], abs=1e-12)
    calibration = found["calibration"]
    assert calibration["brier"]["value"] == pytest.approx(theirs["Brier"], abs=1e-12)
    assert calibration["nll"]["value"] == pytest.approx(theirs["NLL"], abs=1e-12)
    assert calibration["ece"]["value"] == pytest.approx(theirs["ECE"], abs=1e-12)
    assert found["risk"]["aurc"]["value"] == pytest.approx(theirs["AURC"], abs=1e-12)
    assert found["flips"]["share"] == pytest.approx(theirs["flips"], abs=1e-12)
    for place in found["positions"][0]["places"]:
        assert place["accuracy"] == pytest.approx(theirs[f"place {place['place']}"], abs=1e-12)


def test_the_table_names_metrics_baselines_and_the_order_read(yoj: Run) -> None:
    code, out, _ = yoj("eval", HELD_OUT, *DEMO, "--limit", 6)
    assert code == 0
    for words in (
        "best of N",
        "pooled pairwise accuracy",
        "longest wins",
        "first in the file wins",
        "shuffled (seed 0); read again in reverse",
        "ECE of P(best)",
        "winner flips in reverse",
        "place 4",
    ):
        assert words in out


@pytest.mark.parametrize(
    ("options", "reading"),
    [
        (["--as-given", "--no-reversal"], "as given in the file"),
        (["--orders", "2", "--seed", "7"], "mean of 2 orders, the first shuffled (seed 7)"),
        (["--mode", "single"], "each response alone"),
    ],
)
def test_the_output_says_how_responses_were_read(yoj: Run, options: list[str], reading: str) -> None:
    code, out, _ = yoj("eval", HELD_OUT, *DEMO, "--limit", 2, "--json", *options)
    assert code == 0
    (found,) = json.loads(out)["evaluations"]
    assert found["reading"] == reading
    assert found["judge"]["model"] == "demo"


def test_another_models_scores_stand_in_the_same_table(yoj: Run, write_lines: Callable[..., Path]) -> None:
    groups = write_lines(*simulate(6, seed=1), name="groups.jsonl")
    perfect = [
        {"id": f"g{i}", "scores": [-r for r in line["rankings"]]}
        for i, line in enumerate(simulate(6, seed=1))
    ]
    scores = write_lines(*reversed(perfect), name="perfect.jsonl")
    code, out, _ = yoj("eval", groups, "--scores", scores, "--json")
    assert code == 0
    assert figures_of(out)["best of N"]["value"] == 1
    assert json.loads(out)["evaluations"][0]["positions"] == []
    code, out, _ = yoj("eval", groups, "--scores", scores, *DEMO)
    assert code == 0
    assert "  perfect.jsonl" in out
    assert "  demo" in out


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ({"id": "g1", "scores": [1, 2, 3]}, "'scores' has 3 entries for 4 responses"),
        ({"id": "g1", "scores": [1, 2, 3, "x"]}, "'scores' must be a list of numbers"),
        ({"id": "g1"}, "the line has no 'scores'"),
        ({"scores": [1, 2, 3, 4]}, "the line has no 'id'"),
        ({"id": "other", "scores": [1, 2, 3, 4]}, "has no scores for group 'g1'"),
    ],
)
def test_scores_that_do_not_fit_are_one_clear_error(
    yoj: Run, write_lines: Callable[..., Path], line: dict[str, Any], complaint: str
) -> None:
    groups = write_lines(*simulate(2, seed=1), name="groups.jsonl")
    scores = write_lines({"id": "g0", "scores": [1, 2, 3, 4]}, line, name="scores.jsonl")
    code, out, err = yoj("eval", groups, "--scores", scores)
    assert (code, out) == (2, "")
    assert complaint in err
    assert "scores.jsonl" in err


def test_scores_of_no_group_are_refused(yoj: Run, write_lines: Callable[..., Path]) -> None:
    groups = write_lines(*simulate(1, seed=1), name="groups.jsonl")
    scores = write_lines(
        {"id": "g0", "scores": [1, 2, 3, 4]}, {"id": "more", "scores": [1]}, name="scores.jsonl"
    )
    code, _, err = yoj("eval", groups, "--scores", scores)
    assert code == 2
    assert "1 ids that are in no group: more" in err


def test_two_runs_are_compared(yoj: Run, write_lines: Callable[..., Path]) -> None:
    better = write_lines(*simulate(400, seed=1, noise=0.3), name="better.jsonl")
    worse = write_lines(*simulate(400, seed=2, noise=1.5), name="worse.jsonl")
    code, out, _ = yoj("eval", "--compare", worse, better)
    assert code == 0
    assert "best of N: B is better; the interval of B - A leaves out 0." in out
    assert "groups that flip" in out
    _, out, _ = yoj("eval", "--compare", worse, better, "--json")
    (found,) = json.loads(out)["comparisons"]
    assert found["n_common"] == 400
    assert found["mcnemar_p"] < 1e-6
    assert len(found["flipped"]) == found["only_first_right"] + found["only_second_right"]


def test_a_group_that_fails_costs_itself_with_on_error_skip(
    yoj: Run, write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    good = {"prompt": "What is drawn?", "responses": ["a star", "a circle"], "rankings": [1, 2]}
    data = write_lines(good, {**good, "image": "gone.png"}, "{broken", good)
    assert yoj("eval", data, *DEMO)[0] == 2
    code, out, err = yoj("eval", data, *DEMO, "--on-error", "skip", "--save", tmp_path / "run", "--json")
    assert code == 1
    assert "gone.png" in err
    assert json.loads(out)["evaluations"][0]["n_failed"] == 2
    code, out, _ = yoj("eval", "--from", tmp_path / "run")
    assert code == 0
    assert "2 FAILED and are in no figure" in out


def test_where_every_group_fails_there_are_no_figures(
    yoj: Run, write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    none = write_lines(name="none.jsonl")
    options = ("--scores", none, "--on-error", "skip", "--save", tmp_path / "run")
    code, out, _ = yoj("eval", write_lines("{broken", {"prompt": "What?"}), *options, "--json")
    assert code == 1
    (found,) = json.loads(out)["evaluations"]
    assert (found["n_failed"], found["headline"][0]["value"]) == (2, None)
    assert yoj("eval", "--from", tmp_path / "run")[0] == 0


def test_a_run_that_was_stopped_says_so(yoj: Run, saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "stopped"
    folder.mkdir()
    run = json.loads((saved / "held-out" / "run.json").read_text(encoding="utf-8"))
    (folder / "run.json").write_text(json.dumps({**run, "is_complete": False}), encoding="utf-8")
    lines = (saved / "held-out" / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()[:5]
    (folder / "verdicts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    code, out, _ = yoj("eval", "--from", folder)
    assert code == 0
    assert "NOT COMPLETE" in out


def test_a_kept_run_is_not_lost(yoj: Run, saved: Path) -> None:
    code, _, err = yoj("eval", HELD_OUT, *DEMO, "--save", saved)
    assert code == 2
    assert "holds a run already" in err


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"p_best": [-1e308, 1e308]}, "'p_best' must be numbers from 0 to 1"),
        ({"spread": [-1, 0]}, "'spread' must be numbers from 0 to inf"),
    ],
)
def test_verdicts_whose_numbers_no_judge_gives_are_refused(
    yoj: Run, write_lines: Callable[..., Path], fields: dict[str, Any], complaint: str
) -> None:
    line = {"prompt": "q", "responses": ["a", "b"], "rankings": [1, 2], "scores": [1, 0], **fields}
    code, out, err = yoj("eval", "--from", write_lines(line))
    assert (code, out) == (2, "")
    assert complaint in err


def test_a_folder_whose_name_is_too_long_is_said_to_be(yoj: Run, tmp_path: Path) -> None:
    code, _, err = yoj("eval", HELD_OUT, *DEMO, "--limit", 1, "--save", tmp_path / ("x" * 300))
    assert code == 2
    assert "cannot be written (File name too long)" in err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["no-such-bench"], "is no benchmark and no file"),
        ([HELD_OUT, "--data", "x"], "--data: is a benchmark's local copy"),
        ([HELD_OUT, HELD_OUT], "two sets are called 'held-out'"),
        (["--from", "nowhere"], "there is no such folder or file"),
        (["--from", HELD_OUT], "the line has no 'scores'"),
        (["--from", HELD_OUT.parent], "holds no saved run"),
        (["--compare", HELD_OUT, "nowhere"], "there is no such folder or file"),
        (["--list", "--plot", "x"], "--plot"),
    ],
)
def test_what_cannot_be_done_is_one_clear_error(yoj: Run, arguments: list[object], complaint: str) -> None:
    code, out, err = yoj("eval", *arguments)
    assert (code, out) == (2, "")
    assert complaint in err


def test_groups_without_rankings_are_refused(yoj: Run, write_lines: Callable[..., Path]) -> None:
    scores = write_lines({"id": "1", "scores": [1, 0]}, name="scores.jsonl")
    code, _, err = yoj("eval", write_lines({"prompt": "p", "responses": ["a", "b"]}), "--scores", scores)
    assert code == 2
    assert "no group has a ranking to compare with" in err
    none = write_lines(name="none.jsonl")
    code, _, err = yoj("eval", none, "--scores", none)
    assert code == 2
    assert "holds no groups" in err


def test_nothing_from_the_data_reaches_the_terminal_as_it_is(
    yoj: Run, write_lines: Callable[..., Path]
) -> None:
    lines = simulate(len(HOSTILE) * 2, seed=1)
    others = simulate(len(HOSTILE) * 2, seed=2, noise=3)
    for number, text in enumerate([*HOSTILE, *HOSTILE]):
        for each in (lines[number], others[number]):
            each["id"] = each["category"] = text.encode("utf-8", "replace").decode()
            each["prompt"] = text.encode("utf-8", "replace").decode()
    first, second = write_lines(*lines, name="a.jsonl"), write_lines(*others, name="b.jsonl")
    for arguments in (["--from", first], ["--compare", first, second]):
        for options in ([], ["--format", "markdown"]):
            code, out, _ = yoj("eval", *arguments, *options)
            assert code == 0
            assert not {"\x1b", "\x07", "\r", "\u202e", "\x9b"} & set(out)
    assert "<b>" not in out


def test_the_plots_are_pictures(yoj: Run, write_lines: Callable[..., Path], tmp_path: Path) -> None:
    from PIL import Image

    code, _, err = yoj("eval", "--from", write_lines(*simulate(50, seed=1)), "--plot", tmp_path / "plots")
    assert code == 0
    assert "written" in err
    for name in ("reliability", "positions", "risk-coverage"):
        with Image.open(tmp_path / "plots" / "data" / f"{name}.png") as picture:
            assert min(picture.size) > 500


def test_saved_runs_need_no_torch(write_lines: Callable[..., Path]) -> None:
    program = """if True:
        import sys
        from yoj_cli.cli.main import main
        sys.argv = ["yoj", "eval", "--from", sys.argv[1]]
        try:
            main()
        finally:
            assert not {"torch", "transformers"} & set(sys.modules)
    """
    path = write_lines(*simulate(5, seed=1))
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.alone
@pytest.mark.slow
def test_20_000_saved_verdicts_take_less_than_10_s(write_lines: Callable[..., Path], yoj: Run) -> None:
    path = write_lines(*simulate(20_000, seed=1))
    started = time.process_time()
    assert yoj("eval", "--from", path)[0] == 0
    assert time.process_time() - started < 10
