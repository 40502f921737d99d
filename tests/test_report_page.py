"""The page of `yoj report` in a real browser: what a reader does with it, and what hostile data cannot."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.verdict_lines import failed_line, many_lines, verdict_line, write_verdicts
from tests.verdicts import HOSTILE
from yoj_cli.media.options import MediaOptions
from yoj_cli.records.parse import read_groups
from yoj_cli.report.build import build_report

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CLIP = Path(__file__).parents[1] / "examples" / "clips" / "scene-1.mp4"


@pytest.fixture
def look(chromium: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Open the page of some lines: `look(lines, "#v=groups", width=375)`; at the end nothing was complained of, and
    nothing was asked of a network."""
    contexts, complaints = [], []

    def open_page(
        lines: list[Any] | Path, address: str = "", *, others: Any = None, context: Any = None, **how: Any
    ) -> Any:
        path = lines if isinstance(lines, Path) else write_page(tmp_path, lines, others)
        if context is None:
            size = {"width": how.pop("width", 1280), "height": how.pop("height", 900)}
            context = chromium.new_context(viewport=size, accept_downloads=True, **how)
            contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(8000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda asked: (
                None if asked.url.startswith(("file:", "data:", "blob:")) else complaints.append(asked.url)
            ),
        )
        page.complaints = complaints
        page.goto(path.as_uri() + address)
        page.wait_for_selector("html[data-ready]", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


def write_page(folder: Path, lines: list[Any], others: list[Any] | None = None) -> Path:
    paths = [str(write_verdicts(folder / "a.jsonl", lines))]
    if others is not None:
        paths.append(str(write_verdicts(folder / "b.jsonl", others)))
    report = build_report(paths, title=None, max_mb=50, media_root=None, options=MediaOptions())
    page = folder / "report.html"
    page.write_text(report.page, encoding="utf-8", newline="\n")
    return page


ASKED = {"prompt": "Which answer is best?", "responses": ["the red cat sat", "the blue cat sat", "no"]}


def three_groups() -> list[dict[str, Any]]:
    ranked = ASKED | {"rankings": [1, 2, 3]}
    return [
        verdict_line(ranked | {"id": "right", "prompt": "A question about apples"}, (3.0, 1.0, 0.0)),
        verdict_line(ranked | {"id": "wrong", "prompt": "A question about pears"}, (0.0, 4.0, 1.0)),
        failed_line(ranked | {"id": "failed"}, "MediaError", "x.png: there is no such file"),
    ]


def keys_of(page: Any) -> list[str]:
    """The groups in the list, top to bottom."""
    rows = page.locator(".row")
    found = [
        (int(row.get_attribute("aria-posinset")), row.locator(".row-key").inner_text()) for row in rows.all()
    ]
    return [key for _, key in sorted(found)]


def shown_group(page: Any) -> str:
    return str(page.locator("#group h2").inner_text())


@pytest.mark.alone
def test_2000_groups_open_in_3_s_and_only_the_rows_in_sight_are_drawn(look: Any, tmp_path: Path) -> None:
    path = write_page(tmp_path, many_lines(2000, words=250))
    start = time.perf_counter()
    page = look(path, "#v=groups")
    page.wait_for_selector(".response")
    assert time.perf_counter() - start < 3
    assert page.locator(".row").count() < 50
    slowest_ms = page.evaluate(
        """async () => {
            const rows = document.getElementById("rows");
            let slowest = 0;
            for (let at = 0; at < 40; at++) {
                const start = performance.now();
                rows.scrollTop += 3000;
                await new Promise(requestAnimationFrame);
                await new Promise(requestAnimationFrame);
                slowest = Math.max(slowest, performance.now() - start);
            }
            return slowest;
        }"""
    )
    assert slowest_ms < 250
    assert page.locator(".row").count() < 50
    start = time.perf_counter()
    page.fill("#search", "picks which")
    page.wait_for_function("document.getElementById('found').textContent.includes(' of 2,000')")
    assert time.perf_counter() - start < 2


def test_search_takes_text_or_a_regular_expression_and_says_where_it_is_none(look: Any) -> None:
    page = look(three_groups())
    page.keyboard.press("/")
    page.keyboard.type("PEARS")
    assert keys_of(page) == ["wrong"]
    assert page.locator("#group .prompt mark.hit").inner_text() == "pears"
    page.fill("#search", "apples|no such")
    assert page.locator(".nothing").inner_text().startswith("No group fits")
    page.click("#regex")
    assert keys_of(page) == ["right", "failed"]
    page.fill("#search", "(")
    assert "Not a pattern" in page.locator("#found").inner_text()
    page.fill("#search", "")
    assert len(keys_of(page)) == 3


def test_filters_of_a_kind_widen_and_of_different_kinds_narrow(look: Any) -> None:
    page = look(many_lines(60), "#v=groups")
    right, wrong = (int(page.locator(f".chip.{name} .count").inner_text()) for name in ("right", "wrong"))
    page.click(".chip.wrong")
    assert page.locator("#found").inner_text() == f"{wrong} of 60 groups"
    page.click(".chip.right")
    assert page.locator("#found").inner_text() == f"{right + wrong} of 60 groups"
    page.click(".chip.right")
    page.click(".chip.unsure")
    assert len(keys_of(page)) < wrong
    assert "f=wrong%2Cunsure" in page.url
    page.click(".chip.clear")
    page.select_option("#sort", "regret")
    assert page.locator(".row[aria-posinset='1'] .outcome.wrong").count() == 1


def test_the_worst_judgement_is_three_keys_away(look: Any) -> None:
    page = look(many_lines(60))
    worst = page.locator("section[aria-label='Most certain mistakes'] a").first
    key = worst.inner_text()
    worst.click()
    assert shown_group(page) == key
    page.keyboard.press("j")
    assert shown_group(page) != key
    page.keyboard.press("k")
    assert shown_group(page) == key
    page.keyboard.press("d")
    assert page.locator(".response.compared mark.only").count() > 0
    page.keyboard.press("g")
    assert page.locator("#overview").is_visible()


def test_what_is_seen_is_in_the_address_and_comes_back_with_it(look: Any, tmp_path: Path) -> None:
    path = write_page(tmp_path, many_lines(40))
    page = look(path, "#v=groups&f=wrong&s=regret")
    page.keyboard.press("j")
    page.keyboard.press("d")
    page.fill("#search", "the")
    group, rows = shown_group(page), keys_of(page)
    again = look(path, "#" + page.url.split("#")[1])
    assert (shown_group(again), keys_of(again)) == (group, rows)
    assert again.locator(".responses.comparing").count() == 1
    assert again.input_value("#search") == "the"
    again.click("#to-overview")
    again.go_back()
    assert shown_group(again) == group


def test_marks_stay_in_the_browser_and_come_out_as_votes_and_rankings(
    look: Any, yoj: Any, tmp_path: Path
) -> None:
    lines = three_groups()
    lines[1] |= {"__proto__": {"n": 12345678901234567890}, "note": "two\nlines   apart"}
    path = write_page(tmp_path, lines)
    page = look(path, "#v=groups&g=wrong")
    page.keyboard.press("2")  # the second shown is the third of the line
    page.keyboard.press("s")
    page.keyboard.press("c")
    page.keyboard.type("too <short>")
    page.keyboard.press("Escape")
    page.keyboard.press("k")
    page.keyboard.press("0")
    page.reload()
    page.wait_for_selector(".row-marks .star")
    assert page.locator("#n-marked").inner_text() == "2"
    page.keyboard.press("e")
    page.fill("#annotator", "Ada")
    saved = {name: saved_lines(page, f"#export-{name}", tmp_path) for name in ("votes", "rankings", "notes")}
    votes = [
        {key: vote[key] for key in ("group", "a", "b", "winner", "annotator")} for vote in saved["votes"]
    ]
    names = [("0", "1"), ("0", "2"), ("1", "2")]
    ties = [{"group": "right", "a": a, "b": b, "winner": "tie", "annotator": "Ada"} for a, b in names]
    chosen = [{"group": "wrong", "a": a, "b": b, "winner": "b", "annotator": "Ada"} for a, b in names[1:]]
    assert votes == ties + chosen
    assert saved["votes"][-1]["b_text"] == "no"
    assert saved["votes"][-1]["prompt"] == "A question about pears"
    assert saved["notes"][-1] == {"id": "wrong", "preferred": 2, "star": True, "comment": "too <short>"}
    code, out, _ = yoj("votes", "rank", tmp_path / "votes.jsonl", "--quiet")
    ranked = {
        line["id"]: dict(zip(line["names"], line["rankings"], strict=True))
        for line in map(json.loads, out.splitlines())
    }
    assert (code, ranked) == (0, {"right": {"0": 1, "1": 1, "2": 1}, "wrong": {"0": 2, "1": 2, "2": 1}})
    (group,) = read_groups(str(tmp_path / "rankings.jsonl"))
    assert (group.id, group.rankings) == ("wrong", (2.0, 2.0, 1.0))
    assert list(group.responses) == ASKED["responses"]
    assert group.record["__proto__"] == {"n": 12345678901234567890}
    assert group.record["note"] == "two\nlines   apart"


def saved_lines(page: Any, button: str, folder: Path) -> list[dict[str, Any]]:
    with page.expect_download() as begun:
        page.click(button)
    path = folder / begun.value.suggested_filename
    begun.value.save_as(path)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_hidden_verdict_shows_nothing_of_itself_until_the_reader_has_chosen(look: Any) -> None:
    page = look(three_groups(), "#v=groups&g=wrong&blind=1")
    assert page.locator("#group .response .name").all_inner_texts() == [
        "response 1",
        "response 2",
        "response 3",
    ]
    hidden = "#group .bar, #group .rank, #group .tag, #group .response.best, #group .response.gold, .row .outcome.wrong"
    assert page.locator(hidden).count() == 0
    page.keyboard.press("1")
    assert page.locator("#group .bar").count() == 3
    assert page.locator("#group .response .name").first.inner_text() == "response 2"


def test_one_group_is_saved_as_a_page_of_its_own(look: Any, tmp_path: Path) -> None:
    page = look(media_groups(tmp_path) + hostile_groups(), "#v=groups&g=picture")
    page.keyboard.press("1")
    with page.expect_download() as begun:
        page.click("text=Save page")
    assert begun.value.suggested_filename == "picture.html"
    begun.value.save_as(tmp_path / "alone.html")
    alone = look(tmp_path / "alone.html")
    assert shown_group(alone) == "picture"
    alone.wait_for_function("document.querySelector('.medium img').naturalWidth > 0")
    alone.click(".medium .frame")
    alone.wait_for_function("document.getElementById('lightbox-picture').naturalWidth === 900")
    text = (tmp_path / "alone.html").read_text(encoding="utf-8")
    assert "window.pwned" not in text
    assert "<script" not in text.split("</head>")[1].split("application/json")[0].replace("<script type=", "")
    assert len(text) < (tmp_path / "report.html").stat().st_size
    page.keyboard.press("Escape")
    page.evaluate("location.hash = '#v=groups&g=__proto__'")
    with page.expect_download() as begun:
        page.click("text=Save page")
    begun.value.save_as(tmp_path / "hostile.html")
    hostile = look(tmp_path / "hostile.html")
    assert shown_group(hostile) == "__proto__"
    assert hostile.evaluate("window.pwned") is None


def test_two_judges_stand_side_by_side_and_only_where_they_differ(look: Any) -> None:
    ranked = ASKED | {"rankings": [1, 2, 3]}
    first = [verdict_line(ranked | {"id": str(i)}, (3.0, 1.0, 0.0)) for i in range(6)]
    second = [verdict_line(ranked | {"id": str(i)}, (3.0, 4.0 * (i < 2), 0.0)) for i in range(6)]
    page = look(first, others=second)
    assert "Only A is right in 2 groups, only B in 0" in page.locator(".compared").inner_text()
    page.click("text=Only where they differ")
    assert keys_of(page) == ["0", "1"]
    assert page.locator(".row").first.locator(".outcome").all_inner_texts() == ["✓", "✗"]
    assert page.locator(".response").first.locator(".meter .letter").all_inner_texts() == ["A", "B"]


def test_the_words_that_two_responses_do_not_share_are_marked(look: Any) -> None:
    page = look(three_groups(), "#v=groups&g=right&d=0-1")
    assert page.locator(".response.compared mark.only").all_inner_texts() == ["red", "blue"]
    assert page.locator(".response.compared .text").first.inner_text() == "the red cat sat"


ATTACKS = (
    "<script>window.pwned = 1</script>",
    "</script><script>window.pwned = 2</script>",
    "<img src=x onerror='window.pwned = 3'>",
    "<style>body { display: none }</style>",
    "javascript:window.pwned = 4",
    '"><svg onload="window.pwned = 5">',
    "<iframe src='https://example.org'></iframe>",
    "{{ 7 * 7 }} {% raw %} ${7 * 7}",
    "<!-- ]]> -->",
)


def hostile_groups() -> list[dict[str, Any]]:
    texts = [*HOSTILE, *ATTACKS]
    fields = {
        "__proto__": {"polluted": 1},
        "constructor": {"prototype": {"polluted": 1}},
        "criteria": list(ATTACKS),
    }
    lines = [
        verdict_line(
            {"id": identifier, "prompt": ATTACKS[number], "responses": texts, "labels": texts, **fields},
            [float(-i) for i in range(len(texts))],
        )
        for number, identifier in enumerate(("__proto__", "constructor", *ATTACKS[:5], "toString"))
    ]
    return [
        *lines,
        failed_line({"id": "f", "prompt": ATTACKS[0], "responses": ["a"]}, ATTACKS[1], ATTACKS[2]),
    ]


def test_hostile_texts_are_shown_as_they_are_and_do_nothing(look: Any) -> None:
    page = look(hostile_groups(), "#v=groups&g=__proto__")
    assert shown_group(page) == "__proto__"
    shown = [node.text_content() for node in page.locator("#group .response .text").all()]
    for attack in ATTACKS:
        assert attack in shown
    assert any("ESC[31mredESC[0m" in text for text in shown)
    assert any("U+202Eright to leftU+202C" in text for text in shown)
    for _ in range(9):
        page.keyboard.press("1")
        page.keyboard.press("d")
        page.keyboard.press("j")
    page.click("#to-overview")
    page.wait_for_timeout(100)
    assert page.evaluate(
        "[window.pwned, {}.polluted, document.querySelectorAll('iframe, main img').length]"
    ) == [None, None, 0]
    assert page.evaluate("getComputedStyle(document.body).display") == "flex"
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert int(page.locator("#n-marked").inner_text()) >= 7


def test_the_policy_stops_what_would_get_into_the_page_all_the_same(look: Any) -> None:
    page = look(three_groups())
    stopped = page.evaluate(
        """async () => {
            const script = document.createElement("script");
            try { script.text = "window.pwned = 1"; document.body.append(script); } catch (error) { }
            const said = [];
            try { document.body.innerHTML += "<b>x</b>"; } catch (error) { said.push(error.name); }
            try { await fetch("https://example.org/"); } catch (error) { said.push(error.name); }
            return [window.pwned ?? null, ...said];
        }"""
    )
    assert stopped == [None, "TypeError", "TypeError"]
    page.complaints.clear()


def test_a_response_of_a_megabyte_opens_folded_and_can_be_unfolded(look: Any) -> None:
    record = {"id": "long", "prompt": "p", "responses": ["word " * 200_000, "other " * 200_000]}
    page = look([verdict_line(record, (1.0, 0.0))], "#v=groups")
    text = page.locator(".response .text").first
    assert len(text.text_content()) < 10_000
    page.keyboard.press("d")
    assert "too long for their words to be compared" in page.locator(".compare-note").inner_text()
    page.click("text=stop comparing")
    page.click("text=Show all 1,000,000 characters")
    assert len(page.locator(".response .text").first.text_content()) == 1_000_000


def media_groups(folder: Path) -> list[dict[str, Any]]:
    Image.effect_noise((900, 700), 90).save(folder / "noise.png")
    return [
        verdict_line(ASKED | {"id": "picture", "image": "noise.png"}, (1.0, 0.0, 2.0)),
        verdict_line(ASKED | {"id": "clip", "video": str(CLIP)}, (1.0, 0.0, 2.0), judge={"max_frames": 5}),
        verdict_line(ASKED | {"id": "gone", "image": "gone.png"}, (1.0, 0.0, 2.0)),
    ]


def test_pictures_enlarge_clips_show_frames_with_their_times_and_what_is_missing_is_named(
    look: Any, tmp_path: Path
) -> None:
    page = look(media_groups(tmp_path), "#v=groups&g=picture")
    picture = page.locator(".medium img")
    page.wait_for_function("document.querySelector('.medium img').naturalWidth > 0")
    assert picture.evaluate("node => node.naturalWidth") == 480
    page.click(".medium .frame")
    page.wait_for_function("document.getElementById('lightbox-picture').naturalWidth === 900")
    page.keyboard.press("Escape")
    assert not page.locator("#lightbox").is_visible()
    page.keyboard.press("j")
    times = page.locator(".medium .time").all_inner_texts()
    assert len(times) == 5
    assert times[0] == "0 s"
    page.locator(".medium .frame").nth(1).click()
    page.keyboard.press("ArrowRight")
    assert times[2] in page.locator("#lightbox-caption").inner_text()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    assert page.locator(".medium.missing").inner_text() == "No picture: gone.png: there is no such file"
    page.click(".chip.clip")
    assert keys_of(page) == ["clip"]


WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
COLOURS = {"runOnly": ["color-contrast"]}
OVERVIEW, GROUP, FAILED = "#v=overview", "#v=groups&g=wrong&d=0-1", "#v=groups&g=failed&f=failed,marked"


@pytest.mark.parametrize(
    ("how", "views", "rules", "dialogs"),
    [
        ({}, (OVERVIEW, GROUP, FAILED), WCAG, {"?": "#help", "e": "#export"}),
        ({"color_scheme": "dark"}, (OVERVIEW, GROUP), COLOURS, {"?": "#help"}),
        ({"width": 375, "height": 800}, (GROUP,), WCAG, {}),
    ],
    ids=["light", "dark", "narrow"],
)
def test_axe_finds_nothing_serious(
    look: Any, how: dict[str, Any], views: tuple[str, ...], rules: dict[str, Any], dialogs: dict[str, str]
) -> None:
    sync_axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe-playwright-python")
    axe, found = sync_axe.Axe(), []
    page = look(three_groups(), others=three_groups()[::-1], **how)
    for view in views:
        page.evaluate("address => { location.hash = address; }", view)
        page.wait_for_timeout(50)
        found += [(view, *each) for each in serious(axe.run(page, options=rules))]
    for key, dialog in dialogs.items():
        page.keyboard.press(key)
        found += [(dialog, *each) for each in serious(axe.run(page, context=dialog, options=rules))]
        page.keyboard.press("Escape")
    assert not found


def serious(results: Any) -> list[tuple[str, str]]:
    return [
        (violation["id"], violation["nodes"][0]["html"][:200])
        for violation in results.response["violations"]
        if violation["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize(
    "view", ["#v=overview", "#v=groups", "#v=groups&g=__proto__", "#v=groups&g=__proto__&d=0-3"]
)
def test_nothing_runs_over_the_edge_of_a_narrow_screen(look: Any, view: str) -> None:
    page = look(hostile_groups(), view, width=375, height=800)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    wide = "[...document.querySelectorAll('#group > *')].filter(n => n.getBoundingClientRect().right > 376).length"
    assert page.evaluate(wide) == 0


def test_paper_gets_the_overview_or_all_groups_found(look: Any, tmp_path: Path) -> None:
    page = look(media_groups(tmp_path) + many_lines(30), "#v=groups&f=wrong")
    n = int(page.locator("#found").inner_text().split()[0])
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("#printed article").count() == n
    assert page.locator("#printed .response").count() == 4 * n
    assert not page.locator(".search").is_visible()
    assert page.locator("#printed .response .text").first.is_visible()
    page.emulate_media(media="screen")
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("#printed article").count() == 0


def test_the_reader_chooses_light_or_dark_and_it_stays(look: Any) -> None:
    page = look(three_groups())
    page.click("#theme")
    page.reload()
    page.wait_for_selector("html[data-theme='dark']")


def test_every_key_that_is_listed_does_something_and_an_unknown_group_is_said(look: Any) -> None:
    page = look(three_groups(), "#v=groups&g=nobody")
    assert page.locator("#group").inner_text() == "This report has no group “nobody”."
    page.keyboard.press("?")
    listed = page.locator("#keys dt").all_inner_texts()
    assert len(listed) == len(set(listed)) >= 15
    page.keyboard.press("Escape")
    for key in listed:
        page.keyboard.press("Escape")
        if len(key) == 1:
            page.keyboard.press(key)
