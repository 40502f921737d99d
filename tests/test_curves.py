"""The picture of a training run: what is drawn, what is left out, and what must not disturb it."""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import fmean, median

import pytest

from tests.processes import environment
from yoj_cli.errors import InputError, UsageError
from yoj_cli.train.curves import MAX_PLACES, draw_curves, smooth


def a_step(step, **changes):
    line = {"step": step, "epoch": step / 10, "loss": 1.4 - 0.01 * step, "learning_rate": 1e-4 / step}
    return line | {"grad_norm": 1.3, "best_of_n": 0.5, "tokens_per_s": 812.0} | changes


def an_evaluation(step, **changes):
    line = {"step": step, "epoch": step / 10, "eval_loss": 1.2, "eval_best_of_n": 0.4, "eval_chance": 0.25}
    return line | {"eval_pairs": 0.6, "eval_tau": 0.2, "eval_flipped": 0.3, "eval_n_groups": 20} | changes


STEPS = [a_step(step) for step in range(1, 31)]
RUN = [an_evaluation(0), *STEPS, an_evaluation(30)]


@pytest.fixture
def draw(tmp_path):
    """The bytes of the picture of some lines: `draw(lines, "a.png")`."""

    def draw(lines, name="curves.png", title="a run"):
        text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
        (tmp_path / "metrics.jsonl").write_text(text)
        draw_curves(tmp_path / "metrics.jsonl", tmp_path / name, title=title)
        return (tmp_path / name).read_bytes()

    return draw


def labels(svg):
    """The words of an SVG: matplotlib draws them as outlines, and notes each one in a comment."""
    return {text.split(" -->")[0] for text in svg.decode().split("<!-- ")[1:]}


def test_the_suffix_chooses_the_format(draw):
    assert draw(RUN, "a.png").startswith(b"\x89PNG")
    assert b"<svg" in draw(RUN, "a.svg")
    with pytest.raises(UsageError, match=r"drawn as \.png or \.svg"):
        draw(RUN, "a.jpeg")


def test_a_run_with_evaluations_has_every_panel_and_curve(draw):
    words = labels(draw(RUN, "a.svg"))
    assert {"Loss", "Accuracy", "Order and rank, held out", "Optimizer", "nats", "a run"} <= words
    assert {"training (running median)", "held out", "best of N by chance", "pairs, held out"} <= words


def test_panels_and_curves_without_data_are_left_out(draw):
    words = labels(draw(STEPS, "a.svg"))
    assert {"Loss", "Accuracy", "Optimizer"} <= words
    assert not words & {"Order and rank, held out", "held out", "best of N by chance"}
    words = labels(draw([{"step": 1, "loss": 1.0}], "a.svg"))
    assert "Loss" in words
    assert not words & {"Accuracy", "Optimizer"}


@pytest.mark.parametrize("n_steps", [1, 2, 14, 15, 700])
def test_a_run_of_any_length_is_drawn(draw, n_steps):
    assert draw([a_step(step) for step in range(1, n_steps + 1)])


def test_few_steps_are_drawn_as_they_are(draw):
    assert "training" in labels(draw(STEPS[:14], "a.svg"))


def test_a_last_line_that_was_cut_off_is_left_out(draw):
    assert draw([*RUN, '{"step": 31, "lo']) == draw(RUN)


def test_a_broken_line_before_the_last_is_an_error(draw, tmp_path):
    with pytest.raises(InputError, match=r"metrics\.jsonl:2: is no line of metrics"):
        draw([STEPS[0], '{"step": 31, "lo', STEPS[1]])
    assert not list(tmp_path.glob("*.png"))


def test_the_steps_that_a_resumed_run_repeats_count_once(draw):
    first = [a_step(step, loss=9.0) for step in range(20, 26)]
    assert draw([*STEPS[:19], *first, *STEPS[19:]]) == draw(STEPS)


def test_values_that_are_no_numbers_are_no_points(draw):
    with_nan = [*STEPS[:9], a_step(10, grad_norm=float("nan"), loss=float("inf")), *STEPS[10:]]
    without = [line if line["step"] != 10 else {**line} for line in STEPS]
    del without[9]["grad_norm"], without[9]["loss"]
    assert draw(with_nan) == draw(without)


@pytest.mark.parametrize("content", ["", "{}", '{"step": 1, "epoch": 0.1}\n'])
def test_metrics_with_nothing_to_draw_are_an_error(draw, content):
    with pytest.raises(InputError, match="nothing to draw"):
        draw([content])


def test_missing_metrics_are_an_error(tmp_path):
    with pytest.raises(InputError, match=r"metrics\.jsonl: cannot be read"):
        draw_curves(tmp_path / "metrics.jsonl", tmp_path / "a.png", title="")


def test_a_failure_leaves_the_picture_before_it(draw, tmp_path):
    before = draw(RUN)
    with pytest.raises(InputError):
        draw(["broken", *RUN])
    assert (tmp_path / "curves.png").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"curves.png", "metrics.jsonl"}


def test_a_title_is_no_mathematics_and_fits(draw):
    words = labels(draw(RUN, "a.svg", title="$x_{ and a_b$"))
    assert "$x_{ and a_b$" in {word.replace("\\$", "$") for word in words}
    lines = labels(draw(RUN, "a.svg", title="word " * 60)) - words
    assert len(lines) > 1
    assert max(map(len, lines)) < 100


def test_the_running_median_does_not_show_a_peak():
    y = [1.0] * 50 + [99.0] + [1.0] * 50
    assert set(smooth(range(101), y, median)[1]) == {1.0}


def test_the_running_mean_of_a_line_is_the_line_away_from_its_ends():
    x, y = smooth(range(100), [0.5 * at for at in range(100)], fmean)
    assert y[10:90] == pytest.approx([0.5 * at for at in x[10:90]])


@pytest.mark.parametrize("n", [1, 2, 599, 601, 1199, 100_000])
def test_smoothing_keeps_both_ends_and_no_more_places_than_can_be_seen(n):
    x, y = smooth(range(n), [1.0] * n, median)
    assert (x[0], x[-1]) == (0, n - 1)
    assert len(x) == len(y) == len(set(x)) <= MAX_PLACES + 1


def test_drawing_leaves_the_global_state_of_matplotlib_alone(draw, tmp_path):
    draw(RUN)
    program = """if True:
        import sys
        from pathlib import Path
        import matplotlib
        def settings():  # asking for the backend would choose one, and import pyplot
            return {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"}
        before = settings()
        from yoj_cli.train.curves import draw_curves
        draw_curves(Path(sys.argv[1]), Path(sys.argv[2]), title="")
        print("matplotlib.pyplot" in sys.modules, settings() == before)
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, tmp_path / "metrics.jsonl", tmp_path / "b.png"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout == "False True\n"
