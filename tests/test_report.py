"""`yoj report`: what the page is made of. How it behaves in a browser is in test_report_page."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.verdict_lines import failed_line, many_lines, verdict_line, write_verdicts
from yoj_cli.evaluate.calibration import Bin
from yoj_cli.evaluate.compare import compare
from yoj_cli.evaluate.evaluation import evaluate
from yoj_cli.evaluate.judged import Judged, read_judged
from yoj_cli.evaluate.saved import VERDICTS, SavedRun, write_run
from yoj_cli.evaluate.sets import file_benchmark
from yoj_cli.evaluate.tables import interval_text, value_text
from yoj_cli.groups import Media
from yoj_cli.media.options import MediaOptions
from yoj_cli.report.build import build_report
from yoj_cli.report.charts import calibration_chart, nice_top
from yoj_cli.report.document import names_of
from yoj_cli.report.entries import build_entries, is_shaky, margin, outcome, regret
from yoj_cli.report.page import FOLDER, SCRIPTS, STYLES, data_block
from yoj_cli.report.pictures import show_media

AS_A_FILE = file_benchmark("v", "v.jsonl")
ASKED = {"id": "q", "prompt": "Which?", "responses": ["one", "two", "three"]}


def page_of(path: Path, *others: Path, max_mb: float = 50) -> str:
    paths = [str(path), *map(str, others)]
    return build_report(paths, title=None, max_mb=max_mb, media_root=None, options=MediaOptions()).page


def block(page: str, name: str) -> Any:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def judged_of(tmp_path: Path, *lines: dict[str, Any]) -> list[Judged]:
    return list(read_judged([write_verdicts(tmp_path / "v.jsonl", lines)]))


def test_a_data_block_cannot_end_its_element_whatever_it_holds() -> None:
    texts = [
        "</script><script>alert(1)</script>",
        "<!--",
        "\u2028\u2029",
        "\ud800",
        "&lt;",
        '"\\',
        "__proto__",
    ]
    document = dict.fromkeys(texts, texts)
    written = data_block(document)
    assert not re.search("[<>&\u2028\u2029\ud800-\udfff]", written)
    assert json.loads(written) == document


def test_the_policy_allows_this_style_and_this_script_and_nothing_else(tmp_path: Path) -> None:
    page = page_of(write_verdicts(tmp_path / "v.jsonl", many_lines(3)))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    style, script = (
        re.search(r"<style>(.*?)</style>", page, re.DOTALL),
        re.findall(r"<script>(.*?)</script>", page, re.DOTALL),
    )
    assert style
    assert len(script) == 1

    def allowed(text: str) -> str:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        return f"&#39;sha256-{digest}&#39;"

    assert policy[1].startswith("default-src &#39;none&#39;; ")
    assert f"script-src {allowed(script[0])};" in policy[1]
    assert f"style-src {allowed(style[1])};" in policy[1]
    assert "unsafe" not in policy[1]
    assert "http" not in policy[1]


def test_every_file_of_the_page_is_in_it() -> None:
    found = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    styles, scripts = {f"style/{name}.css" for name in STYLES}, {f"script/{name}.js" for name in SCRIPTS}
    assert found == {"report.html", "overview.html", *styles, *scripts}


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.js")), ids=lambda path: path.name)
def test_no_script_reads_data_as_markup_or_as_code(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(
        r"innerHTML|outerHTML *=|insertAdjacent|document\.write|eval\(|Function\(|\bfetch\(", text
    )
    assert not re.search(r"</script|<!--", text, re.IGNORECASE)  # would end the element that holds it
    assert len(text.splitlines()) < 350


def test_titles_and_names_are_escaped(tmp_path: Path) -> None:
    path = write_verdicts(tmp_path / "v.jsonl", [verdict_line(ASKED | {"id": "<img src=x>"}, (1, 2, 3))])
    page = build_report([str(path)], title="<b>&", max_mb=1, media_root=None, options=MediaOptions()).page
    assert "<title>&lt;b&gt;&amp;</title>" in page
    assert "<img src=x>" not in page
    assert "&lt;img src=x&gt;" in page


def test_outcomes_margins_and_regrets_worked_by_hand(tmp_path: Path) -> None:
    ranked = ASKED | {"rankings": [1, 2, 2]}
    right, wrong, tie, unranked, equal, failed = judged_of(
        tmp_path,
        verdict_line(ranked, (2.0, 1.0, 0.0)),
        verdict_line(ranked, (0.0, 0.0, 2.0)),
        verdict_line(ranked, (1.0, 1.0, 0.0)),
        verdict_line(ASKED, (2.0, 1.0, 0.0)),
        verdict_line(ASKED | {"rankings": [1, 1, 1]}, (2.0, 1.0, 0.0)),
        failed_line(ASKED, "TooLongError", "too long"),
    )
    outcomes = [outcome(each) for each in (right, wrong, tie, unranked, equal, failed)]
    assert outcomes == ["right", "wrong", "tie", "unranked", "unranked", "failed"]
    # softmax of (0, 0, 2): 1 / (2 + e^2) = 0.1065, and e^2 / (2 + e^2) = 0.7870
    assert margin(wrong) == pytest.approx(0.7870 - 0.1065, abs=1e-4)
    assert regret(wrong) == pytest.approx(0.7870 - 0.1065, abs=1e-4)
    assert regret(right) == 0
    assert margin(tie) == 0
    assert (regret(unranked), margin(failed), regret(failed)) == (None, None, None)


def test_a_spread_is_high_where_it_reaches_the_lead(tmp_path: Path) -> None:
    calm, shaky, single = judged_of(
        tmp_path,
        verdict_line(ASKED, (3.0, 2.0, 0.0), spread=(0.9, 0.9, 5.0)),
        verdict_line(ASKED, (3.0, 2.0, 0.0), spread=(0.1, 1.0, 0.0)),
        verdict_line(ASKED, (3.0, 2.0, 0.0)),
    )
    assert [is_shaky(each) for each in (calm, shaky, single)] == [False, True, False]


def test_a_whisker_is_p_best_had_the_score_alone_moved_by_its_spread(tmp_path: Path) -> None:
    path = write_verdicts(
        tmp_path / "v.jsonl", [verdict_line(ASKED, (0.0, 0.0, 0.0), spread=(1.0, 0.0, 2.0))]
    )
    verdict = block(page_of(path), "group-0")["verdicts"][0]
    assert verdict["high"] == pytest.approx(
        [0.5761, 0.3333, 0.7870], abs=1e-4
    )  # e / (e + 2), 1 / 3, e^2 / (e^2 + 2)
    assert verdict["low"] == pytest.approx([0.1554, 0.3333, 0.0634], abs=1e-4)


def test_groups_of_one_id_stay_apart_and_have_names_of_their_own(tmp_path: Path) -> None:
    other = ASKED | {"prompt": "Another?"}
    judged = judged_of(tmp_path, *(verdict_line(each, (1, 2, 3)) for each in (ASKED, ASKED, other)))
    assert [entry.key for entry in build_entries([judged])] == ["q", "q~2", "q~3"]


def test_two_files_are_joined_by_id_prompt_and_responses(tmp_path: Path) -> None:
    first = judged_of(tmp_path, verdict_line(ASKED, (1, 2, 3)), verdict_line(ASKED | {"id": "a"}, (1, 2, 3)))
    second = judged_of(
        tmp_path,
        verdict_line(ASKED | {"responses": ["one", "two", "four"]}, (1, 2, 3)),
        verdict_line(ASKED, (3, 2, 1)),
    )
    entries = build_entries([first, second])
    assert [(entry.key, *map(bool, entry.judged)) for entry in entries] == [
        ("q", True, True),
        ("a", True, False),
        ("q~2", False, True),
    ]


def test_responses_are_called_by_their_labels_or_models_where_these_tell_them_apart(tmp_path: Path) -> None:
    named, twice, plain = judged_of(
        tmp_path,
        verdict_line(ASKED | {"models": ["a", "b", "c"]}, (1, 2, 3)),
        verdict_line(ASKED | {"models": ["a", "a", "c"]}, (1, 2, 3)),
        verdict_line(ASKED, (1, 2, 3)),
    )
    assert [names_of(each.group)[0] for each in (named, twice, plain) if each.group] == [
        "a",
        "response 1",
        "response 1",
    ]


def test_the_figures_are_those_of_the_evaluation(tmp_path: Path) -> None:
    path = write_verdicts(tmp_path / "v.jsonl", many_lines(120))
    evaluation = evaluate(list(read_judged([path])), AS_A_FILE)
    page = page_of(path)
    rows = re.findall(r'<th scope="row">(.*?)</th><td class="number">(.*?)</td><td>(.*?)</td>', page)
    shown = {html.unescape(name): (value, interval) for name, value, interval in rows}
    for figure in (
        *evaluation.headline,
        *evaluation.figures,
        evaluation.calibration.brier,
        evaluation.risk.aurc,
    ):
        interval = interval_text(figure.low, figure.high, figure.unit)
        assert shown[figure.name] == (value_text(figure.value, figure.unit), interval)
    assert shown["best of N of a blind pick"][0] == "25.0 %"


def test_the_comparison_is_that_of_the_evaluation(tmp_path: Path) -> None:
    lines, others = many_lines(120), many_lines(120)
    for line in others[::3]:
        if "scores" in line:
            line["scores"] = line["scores"][::-1]
            del line["p_best"]
    first, second = write_verdicts(tmp_path / "a.jsonl", lines), write_verdicts(tmp_path / "b.jsonl", others)
    found = compare(list(read_judged([first])), list(read_judged([second])), AS_A_FILE)
    page = " ".join(page_of(first, second).split())
    assert f">{found.only_first_right} groups</a>, only B in" in page
    assert f">{found.only_second_right}</a>" in page
    assert f"p = {found.mcnemar_p:.3g}" in page
    difference = found.differences[0]
    assert f'<td class="number">{value_text(difference.difference, signed=True)}</td>' in page


def test_a_missing_picture_is_named_and_no_folder_of_this_machine_is(
    tmp_path: Path, write_lines: Callable[..., Path]
) -> None:
    line = verdict_line(ASKED | {"image": "pictures/gone.png"}, (1, 2, 3))
    path = write_verdicts(tmp_path / "v.jsonl", [line])
    report = build_report([str(path)], title=None, max_mb=50, media_root=None, options=MediaOptions())
    medium = block(report.page, "media-0")
    assert (medium["name"], medium["problem"], medium["small"]) == ("gone.png", "there is no such file", [])
    (note,) = report.notes
    assert note.startswith(
        "1 of 1 pictures and clips could not be read; each says why. (Relative paths start"
    )
    assert str(tmp_path) not in report.page


def picture_file(tmp_path: Path, lines: int = 3) -> Path:
    found = []
    for number in range(lines):
        noise = Image.effect_noise((640, 500), 90 + number).convert("RGB")
        noise.save(tmp_path / f"{number}.png")
        found.append(verdict_line(ASKED | {"id": str(number), "image": f"{number}.png"}, (1, 2, 3)))
    return write_verdicts(tmp_path / "v.jsonl", found)


def test_an_id_that_holds_half_a_character_makes_a_page_that_can_be_written(tmp_path: Path) -> None:
    lines = [verdict_line(ASKED | {"id": "\ud83d", "prompt": "\ud83d"}, (1, 2, 3))]
    assert page_of(write_verdicts(tmp_path / "v.jsonl", lines)).encode("utf-8")


def test_pictures_are_small_first_and_larger_as_far_as_the_room_goes(tmp_path: Path) -> None:
    path = picture_file(tmp_path)
    whole = [block(page_of(path), f"media-{i}") for i in range(3)]
    assert [each["left_out"] for each in whole] == ["", "", ""]
    assert all(each["enlarges"] for each in whole)
    small_mb = sum(len(each["small"][0]) for each in whole) / 1e6
    tight = [block(page_of(path, max_mb=small_mb * 1.01), f"media-{i}") for i in range(3)]
    assert [each["left_out"] for each in tight] == ["large", "large", "large"]
    assert [each["small"] for each in tight] == [each["small"] for each in whole]
    report = build_report([str(path)], title=None, max_mb=0, media_root=None, options=MediaOptions())
    assert report.notes == ("3 of 3 pictures and clips are left out (--max-mb 0).",)
    assert "data:image" not in report.page


def test_a_picture_that_many_groups_show_is_in_the_page_once(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    lines = [verdict_line(ASKED | {"id": str(i), "image": "red.png"}, (1, 2, 3)) for i in range(5)]
    assert page_of(write_verdicts(tmp_path / "v.jsonl", lines)).count("data:image/jpeg") == 1


def test_a_clip_is_shown_by_the_frames_that_its_judge_saw() -> None:
    clip = Path(__file__).parents[1] / "examples" / "clips" / "scene-1.mp4"
    (shown,) = show_media([(Media("video", str(clip)), MediaOptions(max_frames=3))], max_bytes=1e6)
    assert len(shown.small) == len(shown.times_s) == 3
    assert shown.name == "scene-1.mp4"
    assert shown.duration_s


def test_pictures_inside_a_line_are_in_the_page_once_and_the_line_is_not_exported_as_a_ranking(
    tmp_path: Path,
) -> None:
    picture = tmp_path / "0.png"
    Image.effect_noise((64, 64), 90).save(picture)
    url = "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
    path = write_verdicts(
        tmp_path / "v.jsonl",
        [verdict_line(ASKED | {"image": url}, (1, 2, 3)), verdict_line(ASKED, (1, 2, 3))],
    )
    page = page_of(path)
    assert url not in page
    assert [block(page, f"group-{i}")["whole"] for i in (0, 1)] == [False, True]


def test_criteria_are_shown_as_texts_or_a_value_for_each_response(tmp_path: Path) -> None:
    criteria = {"goal": "short and true", "helpfulness": [1, 2, 3]}
    path = write_verdicts(tmp_path / "v.jsonl", [verdict_line(ASKED | {"criteria": criteria}, (1, 2, 3))])
    group = block(page_of(path), "group-0")
    assert group["criteria"] == ["goal: short and true"]
    assert group["criteria_values"] == [{"name": "helpfulness", "values": ["1", "2", "3"]}]


def test_the_marks_of_a_report_are_found_again_when_it_is_built_again(tmp_path: Path) -> None:
    path, other = (
        write_verdicts(tmp_path / name, many_lines(n)) for name, n in (("a.jsonl", 5), ("b.jsonl", 6))
    )
    fingerprints = [block(page_of(each), "index")["report"] for each in (path, path, other)]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_axes_end_on_round_numbers_and_dots_lie_where_their_figures_say() -> None:
    assert [nice_top(value) for value in (0, 0.67, 1, 1.1, 7, 106, 4000)] == [1, 0.8, 1, 1.2, 8, 120, 4000]
    chart = calibration_chart([Bin(0.5, 0.6, 10, 0.5, 0.25, 0.1, 0.4)])
    (dot,) = (shape for shape in chart.shapes if shape.tag == "circle")
    assert float(dot.attributes["cx"]) == pytest.approx((chart.x(0) + chart.x(1)) / 2)
    assert float(dot.attributes["cy"]) == pytest.approx(
        chart.y(0) + 0.25 * (chart.y(1) - chart.y(0)), abs=0.01
    )


def test_the_command_writes_a_page_and_says_what_it_holds(yoj: Any, tmp_path: Path) -> None:
    path = write_verdicts(tmp_path / "v.jsonl", many_lines(60))
    page = tmp_path / "r.html"
    code, out, err = yoj("report", path, "-o", page)
    assert (code, out) == (0, "")
    assert re.fullmatch(r"60 groups · \d+\.\d MB · .*r\.html\n", err)
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    code, _, err = yoj("report", path, "-o", page)
    assert code == 2
    assert "holds results already" in err
    assert yoj("report", path, "-o", page, "--overwrite")[0] == 0


def test_a_page_may_go_to_standard_output_and_verdicts_come_from_standard_input(
    yoj: Any, tmp_path: Path
) -> None:
    text = write_verdicts(tmp_path / "v.jsonl", many_lines(2)).read_text(encoding="utf-8")
    code, out, _ = yoj("report", "-", "-o", "-", stdin=text)
    assert code == 0
    assert len(block(out, "index")["groups"]) == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "there is no verdict in it"),
        ('{"id": 1, "prompt": "p", "responses": ["a", "b"]}', "the line has no 'scores'"),
        ('{"prompt": "p", "responses": ["a", "b"], "scores": [1]}', "'scores' has 1 entries for 2 responses"),
        ('{"id"', "the line is not JSON"),
    ],
)
def test_a_file_without_verdicts_is_an_error_with_its_place(
    yoj: Any, tmp_path: Path, line: str, said: str
) -> None:
    path = tmp_path / "v.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    code, _, err = yoj("report", path, "-o", tmp_path / "r.html")
    assert code == 2
    assert said in err
    assert "v.jsonl" in err
    assert not (tmp_path / "r.html").exists()


def test_a_run_that_yoj_eval_kept_is_shown_by_its_folder(yoj: Any, tmp_path: Path) -> None:
    folder = tmp_path / "today" / "held-out"
    folder.mkdir(parents=True)
    write_run(SavedRun("held-out", "held-out.jsonl", "held-out.jsonl", str(tmp_path), "demo", ""), folder)
    write_verdicts(folder / VERDICTS, many_lines(3))
    code, out, _ = yoj("report", tmp_path / "today", "-o", "-")
    assert code == 0
    assert block(out, "index")["judges"][0]["file"] == "today"


def test_files_of_failures_and_lines_that_name_no_judge_are_shown(yoj: Any, tmp_path: Path) -> None:
    failed = [
        failed_line({"foo": 1}, "InputError", "no responses"),
        failed_line({}, "InputError", "not JSON"),
    ]
    plain = [ASKED | {"scores": [1, 2, 3]}, {"id": "one", "prompt": "p", "responses": ["a"], "scores": [0]}]
    first, second = (
        write_verdicts(tmp_path / name, lines) for name, lines in (("a.jsonl", failed), ("b.jsonl", plain))
    )
    for paths in ([first], [second], [first, second]):
        code, out, _ = yoj("report", *paths, "-o", "-")
        assert code == 0
        assert len(block(out, "index")["groups"]) == 2 * len(paths)


def test_three_files_are_too_many(yoj: Any, tmp_path: Path) -> None:
    paths = [write_verdicts(tmp_path / f"{i}.jsonl", many_lines(1)) for i in range(3)]
    code, _, err = yoj("report", *paths, "-o", tmp_path / "r.html")
    assert code == 2
    assert "shows one file or compares two" in err
