"""`yoj bench-speed` as a command: tables, the JSON document, the picture, wrong usage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.processes import run_on_terminal
from yoj_cli.bench import speed
from yoj_cli.bench.measure import Timing
from yoj_cli.bench.plot import draw_speedup
from yoj_cli.bench.report import Comparison, Row, SpeedReport
from yoj_cli.bench.tables import render_report

SMALL = ("--prompt-tokens", 6, "--response-tokens", 5, "--picture-tokens", 18, "--repeats", 1, "--warmup", 0)
RANDOM = ("bench-speed", "--random-init", "tiny", "--quant", "none", "--dtype", "float32", *SMALL)


def a_report(*sizes, difference=1e-6, error=None):
    """One in which (a) takes 1 s a response and every other way 1 s in all."""

    def row(key, n):
        timing = Timing(1.0, [float(n) if key == "a" else 1.0] * 3)
        if key == "g":
            timing.error = error
        gap = None if key in "aef" else difference
        return Row(key, f"way {key}", timing, 100 * n if key == "a" else 100, 1000, 10**6, gap)

    comparisons = [
        Comparison(
            n=n,
            picture_tokens=[18],
            clip_tokens=[0],
            prefix_tokens=[30] if n > 1 else None,
            alone_tokens=[[35] * n],
            n_orders=min(n, 2),
            rows=[row(key, n) for key in "abcdefg"],
            slower=None,
            tolerance=1e-4,
        )
        for n in sizes
    ]
    facts = {
        "model": "m$dels/judge",
        "quant": "4bit",
        "dtype": "float32",
        "device": "cpu",
        "device_name": "a CPU",
    }
    facts |= {"groups": "random words", "repeats": 3, "warmup": 0}
    return SpeedReport(facts, None, 1e9, "a method", comparisons)


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    """The document of a real run over two sizes, and its picture."""
    from yoj_cli.bench.speed import compare_speed
    from yoj_cli.config.bench import BenchConfig
    from yoj_cli.media.options import MediaOptions

    options = {name[2:].replace("-", "_"): value for name, value in zip(SMALL[::2], SMALL[1::2], strict=True)}
    options["repeats"] = 3
    config = BenchConfig(random_init="tiny", quant="none", device="cpu", n="1,3", groups=2, **options)
    return compare_speed(config, path=None, media=MediaOptions(), tell=lambda what: None).document()


def test_the_document_says_that_the_weights_are_random(document):
    assert (document["random_weights"], document["architecture"], document["model"]) == (
        True,
        "a tiny Molmo2",
        None,
    )


def test_the_document_has_every_way_at_every_size(document):
    assert [run["n"] for run in document["runs"]] == [1, 3]
    for run in document["runs"]:
        assert sorted(row["key"] for row in run["variants"] if row["in_table"]) == list("abcdefg")
        assert len(run["variants"]) == 8  # (c) is done in two ways
    assert [run["orders"] for run in document["runs"]] == [1, 2]


def test_rates_follow_from_the_median(document):
    run = document["runs"][1]
    for row in run["variants"]:
        assert len(row["times_s"]) == 3
        assert row["first_quartile_s"] <= row["median_s"] <= row["third_quartile_s"]
        assert row["groups_per_s"] * row["median_s"] == pytest.approx(2)
        assert row["responses_per_s"] == pytest.approx(3 * row["groups_per_s"])
        assert row["share_of_matmul_peak"] * document["matmul_flop_per_s"] == pytest.approx(row["flop_per_s"])


def test_the_token_ratio_is_that_of_the_tokens(document):
    run = document["runs"][1]
    tokens = {row["key"]: row["tokens"] for row in run["variants"] if row["in_table"]}
    assert run["token_ratio"] == tokens["a"] / tokens["e"]
    assert tokens["a"] == sum(map(sum, run["alone_tokens"]))
    assert run["prefix_tokens"] is not None
    assert document["runs"][0]["prefix_tokens"] is None


def test_json_is_the_last_line_and_all_of_standard_output(yoj, tmp_path):
    code, out, err = yoj(*RANDOM, "--n", "2", "--json", "--plot", tmp_path / "a.svg")
    assert code == 0
    assert json.loads(out)["agrees"] is True
    assert out.count("\n") == 1
    assert err == f"drawn: {tmp_path / 'a.svg'}\n"
    assert "RANDOM WEIGHTS" in (tmp_path / "a.svg").read_text()


@pytest.mark.slow
def test_the_tables_fit_80_columns_and_say_what_was_measured():
    code, shown, _ = run_on_terminal([*RANDOM, "--n", "2"], columns=80)
    assert code == 0
    lines = shown[shown.rindex("\x1b[K") + 3 :].splitlines()
    assert lines[0].startswith("bench-speed: RANDOM WEIGHTS, a tiny Molmo2, none, float32, CPU")
    assert max(map(len, lines)) <= 80
    rows = [line.split()[0] for line in lines if line.startswith("  ") and line[3:5] == "  "]
    assert rows == [*"abcdefg", *"abcdefg"]
    assert "scores do not" in " ".join(lines[-2:])


def test_a_judge_is_measured_on_the_groups_of_a_file(yoj, write_lines):
    path = write_lines({"prompt": "Which?", "responses": ["one two", "three", "four five six"]})
    code, out, _ = yoj(
        "bench-speed", path, "--model", "demo", "--n", 3, "--repeats", 1, "--warmup", 0, "--json"
    )
    found = json.loads(out)
    assert code == 0
    assert (found["model"], found["groups"], found["random_weights"]) == ("demo", "data.jsonl", False)
    assert found["runs"][0]["picture_tokens"] == [0]


def test_a_clip_takes_the_place_of_the_picture(yoj):
    code, out, _ = yoj(*RANDOM, "--n", "2", "--json", "--picture-tokens", 0, "--clip-tokens", 20)
    (run,) = json.loads(out)["runs"]
    assert (code, run["agrees"]) == (0, True)
    assert (run["picture_tokens"], run["clip_tokens"]) == ([0], [20])
    # 5 moments of 4 tokens, each behind one for its time
    assert run["prefix_tokens"] == [20 + 5 + 6]


def test_a_file_with_clips_is_measured(yoj, write_lines):
    clip = str(Path(__file__).parent.parent / "examples" / "clips" / "scene-1.mp4")
    path = write_lines({"prompt": "Which?", "video": clip, "responses": ["one two", "three"]})
    code, out, _ = yoj(
        "bench-speed", path, "--model", "demo", "--n", 2, "--repeats", 1, "--warmup", 0, "--json"
    )
    (run,) = json.loads(out)["runs"]
    assert (code, run["agrees"], run["picture_tokens"]) == (0, True, [0])
    assert run["clip_tokens"][0] > 50


def test_the_papers_figures_stand_beside_ours_and_are_marked_as_published():
    report = a_report(1, 4)
    shown = " ".join(render_report(report).split())
    assert "published (arXiv 2604.10966; one H100, N = 4), not measured here" in shown
    assert "3.9x as fast as (a), with 4.0x fewer FLOPs. Measured here at N = 4: 4.00x" in shown
    assert "Measure N = 4 (--n 4)" in " ".join(render_report(a_report(1, 2)).split())
    found = report.document()["published"]
    assert (found["n"], found["latency_speedup"], found["flops_speedup"]) == (4, 3.9, 4.0)
    assert found["source"] == "arXiv 2604.10966"


def test_scores_that_disagree_are_said_and_end_with_1(yoj, monkeypatch):
    monkeypatch.setitem(speed.TOLERANCES, "float32", -1.0)
    code, out, err = yoj(*RANDOM, "--n", "2")
    assert code == 1
    assert "SCORES DISAGREE" in out
    assert "the scores of one padded batch are off by" in err


def test_a_score_that_is_no_number_disagrees():
    report = a_report(2, difference=float("inf"))
    assert len(report.disagreements) == 4
    assert not a_report(2).disagreements


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--n", "0"], "--n: '0' is no list of positive numbers"),
        (["--n", "2,x"], "--n: '2,x' is no list"),
        (["--n", "1,,2"], "is no list"),
        (["--model", "demo", "--random-init", "tiny"], "give --model or --random-init"),
        (["--random-init", "tiny", "--revision", "x"], "--revision: random weights have no revision"),
        (["--repeats", "0"], "--repeats: 0 is not a positive number"),
        (["--clip-tokens", "-1"], "--clip-tokens: -1 is not a number of at least 0"),
        (
            ["--clip-tokens", "9", "--picture-tokens", "9"],
            "--clip-tokens: a drawn group has a picture or a clip",
        ),
        (["--picture-tokens", "-1"], "--picture-tokens: -1 is not a number of at least 0"),
        (["--plot", "a.pdf"], "drawn as .png or .svg"),
        (["--plot", "nowhere/a.png"], "nowhere: there is no such folder"),
        (["--device", "gpu"], "is not auto, cuda"),
        (["-"], "a pipe can be read once"),
        (["nope.jsonl"], "nope.jsonl: there is no such file"),
        (["FILE", "--random-init", "tiny"], "no tokenizer"),
        (["FILE", "--response-tokens", "5"], "--response-tokens: real groups have sizes of their own"),
        (["FILE", "--model", "demo", "--n", "9"], "no group has 9 responses"),
        (["--model", "demo", "--n", "400"], "over the limit of 24576\nGive a smaller --n"),
    ],
)
def test_wrong_usage_is_said_and_ends_with_2(yoj, write_lines, arguments, wanted, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = write_lines({"prompt": "?", "responses": ["a", "b"]})
    code, out, err = yoj("bench-speed", *(str(path) if each == "FILE" else each for each in arguments))
    assert (code, out) == (2, "")
    assert wanted in err


def test_random_weights_of_full_size_need_a_gpu_or_an_explicit_cpu(yoj):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    code, _, err = yoj("bench-speed", "--random-init", "molmo2-4b")
    assert code == 4
    assert "--device cpu" in err


def test_a_way_that_did_not_fit_has_no_figures():
    report = a_report(2, error="out of memory")
    row = next(row for row in report.document()["runs"][0]["variants"] if row["key"] == "g")
    assert row["error"] == "out of memory"
    assert "median_s" not in row
    assert "out of memory" in render_report(report)


def test_speedups_and_the_limit_are_those_of_the_rows():
    text = render_report(a_report(1, 4))
    summary = text[text.index("speed-up by N") :].splitlines()
    assert summary[1].split() == ["N", "b", "c", "d", "e", "f", "g", "limit"]
    assert summary[3].split() == ["4", *["4.00x"] * 7]


@pytest.mark.parametrize("sizes", [(1,), (8,), (1, 2, 32)])
def test_the_picture_shows_every_way_and_the_limit(tmp_path, sizes):
    draw_speedup(a_report(*sizes, error="out of memory"), tmp_path / "a.svg")
    words = {text.split(" -->")[0] for text in (tmp_path / "a.svg").read_text().split("<!-- ")[1:]}
    assert {
        *map(str, sizes),
        "responses N",
        "tokens of (a) / tokens of (e)",
        "(b) way b",
        "(e) way e",
    } <= words
    assert any("m$dels/judge" in word.replace("\\$", "$") for word in words)
    draw_speedup(a_report(*sizes), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"a.svg", "a.png"}
