"""The page at `/`, in a real browser and as bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving import Served, serving
from yoj_cli import Judge
from yoj_cli.serve.type_in import FOLDER

SCENE = Path(__file__).parents[1] / "examples" / "pictures" / "scene-1.png"
KEY = "a-key-of-32-signs-for-this-test-0"


@pytest.fixture(scope="module")
def judge(judges: Callable[..., Judge]) -> Judge:
    return judges("demo")


@pytest.fixture(scope="module")
def served(judge: Judge) -> Iterator[Served]:
    with serving(lambda: [judge]) as found:
        yield found


def test_the_page_and_its_files_are_there_and_may_load_nothing_else(served: Served) -> None:
    page = served.http.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for path in re.findall(r'(?:src|href)="(page/[^"]+)"', page.text):
        assert served.http.get(f"/{path}").status_code == 200
    for file in FOLDER.iterdir():
        assert not re.search(r"https?://", file.read_text(encoding="utf-8"))


def test_the_page_needs_no_key_and_what_it_asks_does(judge: Judge) -> None:
    with serving(lambda: [judge], api_key=KEY) as served:
        del served.http.headers["Authorization"]
        paths = (
            "/",
            "/page/page.js",
            "/page/page.css",
            "/page/colours.css",
            "/v1/models",
            "/v1/groups",
            "/rm",
        )
        assert [served.http.get(path).status_code for path in paths] == [200] * 4 + [401] * 3


@pytest.fixture
def page(chromium: Any, served: Served) -> Iterator[Any]:
    """The page, open; at the end nothing was complained of, and nobody else was asked."""
    complaints: list[str] = []
    opened = chromium.new_context().new_page()
    opened.set_default_timeout(8000)
    opened.on("console", lambda message: complaints.append(message.text))  # with a line for each 4xx, too
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda asked: check_address(asked.url, served, complaints))
    opened.goto(served.url)
    opened.wait_for_selector("html[data-ready]", state="attached")
    opened.wait_for_function("document.getElementById('judge').textContent.includes('demo')")
    yield opened
    opened.context.close()
    assert not [text for text in complaints if "status of 422" not in text]


def check_address(url: str, served: Served, complaints: list[str]) -> None:
    if not url.startswith((served.url, "data:", "blob:")):
        complaints.append(url)


@pytest.mark.browser
@pytest.mark.slow
class TestInABrowser:
    def test_a_picture_and_answers_are_ranked_as_the_library_ranks_them(
        self, page: Any, judge: Judge
    ) -> None:
        answers = ["A red circle.", "<b>In the center a red circle</b> & more", "Nothing."]
        page.fill("#prompt", "Describe this image.")
        page.set_input_files("#files", str(SCENE))
        page.wait_for_selector("#media img")
        page.click("#add")
        for place, answer in enumerate(answers):
            page.locator("#answers textarea").nth(place).fill(answer)
        page.keyboard.press("Control+Enter")
        page.wait_for_selector("#verdict .ranked")
        verdict = judge.score(prompt="Describe this image.", images=[SCENE], responses=answers)
        assert page.locator(".ranked .text").all_inner_texts() == [answers[place] for place in verdict.order]
        shown = page.locator(".ranked .p").all_inner_texts()
        assert shown == [percent(verdict.p_best[place]) for place in verdict.order]
        assert page.locator(".ranked meter").first.evaluate("meter => meter.value") == pytest.approx(
            max(verdict.p_best), abs=5e-5
        )

    def test_the_example_is_ranked_right(self, page: Any) -> None:
        page.click("#example")
        page.click("#rank")
        page.wait_for_selector("#verdict .ranked")
        assert (
            "red circle and in the bottom right a blue square"
            in page.locator(".ranked .text").first.inner_text()
        )
        assert "data:image/png;base64" in page.locator("#request").text_content()

    def test_what_the_server_refuses_is_said_and_what_comes_next_is_ranked(self, page: Any) -> None:
        page.locator("#answers textarea").first.fill("One.")
        page.locator("#answers textarea").nth(1).fill("Two.")
        page.set_input_files("#files", {"name": "no.png", "mimeType": "image/png", "buffer": b"no picture"})
        page.wait_for_selector("#media li")
        page.click("#rank")
        assert "not a picture" in page.locator("#verdict .problem").inner_text()
        page.click("#media .remove")
        page.fill("#prompt", "One or two?")
        page.click("#rank")
        page.wait_for_selector("#verdict .ranked")

    def test_axe_finds_nothing_and_a_phone_needs_no_scrolling_aside(self, page: Any) -> None:
        axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
        page.click("#example")
        page.click("#rank")
        page.wait_for_selector("#verdict .ranked")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found = axe.run(page)
            assert not found.response["violations"], found.generate_report()
        page.set_viewport_size({"width": 360, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def percent(share: float) -> str:
    return "< 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"
