"""What OpenRLHF and slime ask of a reward server, over real connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving import Served, serving
from tests.waiting import wait_until
from yoj_cli import Judge
from yoj_cli.errors import UsageError

PROMPT = "Describe this image."
RESPONSES = ["A red circle.", "A star.", "Nothing at all.", "A red circle."]


@pytest.fixture(scope="module")
def judge(judges: Callable[..., Judge]) -> Judge:
    return judges("demo")


@pytest.fixture(scope="module")
def served(judge: Judge) -> Iterator[Served]:
    with serving(lambda: [judge], cohort=4, cohort_timeout=2.0) as found:
        yield found


def together(calls: list[Callable[[], httpx.Response]]) -> list[httpx.Response]:
    """The answers to requests that are open at the same time."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def ask_slime(served: Served, prompt: Any, response: str, **headers: str) -> Callable[[], httpx.Response]:
    body = {"prompt": prompt, "response": response, "label": None}
    return lambda: httpx.post(f"{served.url}/rm", json=body, headers=headers, timeout=20)


def ask_openrlhf(served: Served, prompts: list[str], queries: list[str]) -> Callable[[], httpx.Response]:
    body = {"query": queries, "prompts": prompts, "labels": [""] * len(prompts)}
    return lambda: httpx.post(f"{served.url}/get_reward", json=body, timeout=20)


def wait_for_members(served: Served, n: int) -> None:
    """Wait until so many responses wait for others."""
    wait_until(lambda: served.service.gatherer.cohorts.n_waiting == n)


def test_slime_gets_the_scores_of_the_whole_group(served: Served, judge: Judge) -> None:
    with ThreadPoolExecutor(4) as pool:
        waiting = []
        for n, response in enumerate(RESPONSES):
            waiting.append(pool.submit(ask_slime(served, PROMPT, response)))
            wait_for_members(served, (n + 1) % 4)
        answers = [each.result() for each in waiting]
    assert {answer.headers["yoj-cohort"] for answer in answers} == {"4/4"}
    verdict = judge.score(prompt=PROMPT, responses=RESPONSES)
    assert [answer.json() for answer in answers] == pytest.approx(list(verdict.scores), abs=5e-5)


def test_openrlhf_gets_rewards_and_shares(served: Served, judge: Judge) -> None:
    queries = [f"<s>{PROMPT} {response}" for response in RESPONSES]
    answer = ask_openrlhf(served, [PROMPT] * 4, queries)()
    verdict = judge.score(prompt=PROMPT, responses=[f" {response}" for response in RESPONSES])
    found = answer.json()
    assert found["rewards"] == pytest.approx(list(verdict.scores), abs=5e-5)
    assert found["scores"] == pytest.approx(list(verdict.p_best), abs=5e-5)
    assert found["extra_logs"] == {"cohort_size": [4.0] * 4}


def test_an_incomplete_cohort_is_scored_and_says_so(served: Served) -> None:
    started = time.monotonic()
    answers = together([ask_slime(served, "Another?", response) for response in RESPONSES[:3]])
    assert {answer.headers["yoj-cohort"] for answer in answers} == {"3/4"}
    assert 1.9 < time.monotonic() - started < 10
    assert 'yoj_cohorts_total{outcome="incomplete"} 1.0' in served.http.get("/metrics").text


def test_a_prompt_may_be_a_chat(served: Served) -> None:
    chat = [{"role": "user", "content": PROMPT}]
    answers = together([ask_slime(served, chat, response) for response in RESPONSES])
    assert [answer.status_code for answer in answers] == [200] * 4


def test_a_retry_with_its_request_id_is_no_second_completion(served: Served) -> None:
    calls = [ask_slime(served, "Ids?", text, **{"X-Request-ID": f"r{n}"}) for n, text in enumerate(RESPONSES)]
    answers = together([*calls, calls[0]])
    assert {answer.headers["yoj-cohort"] for answer in answers} == {"4/4"}
    assert answers[0].json() == answers[4].json() == calls[0]().json()
    other = ask_slime(served, "Ids?", "Another response.", **{"X-Request-ID": "r0"})()
    assert other.status_code == 422
    assert "was used for another response" in other.json()["detail"]


def test_a_retry_after_a_lost_connection_takes_its_place(served: Served) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{served.url}/rm", json={"prompt": "Lost?", "response": RESPONSES[0], "label": None}, timeout=0.3
        )
    wait_for_members(served, 1)
    wait_until(lambda: served.service.admission.n_requests == 0)  # it has noticed
    answers = together([ask_slime(served, "Lost?", response) for response in RESPONSES])
    assert [answer.headers["yoj-cohort"] for answer in answers] == ["4/4"] * 4


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/get_reward", {"query": ["a", "b"], "prompts": ["a"]}, "2 in 'query' and 1 in 'prompts'"),
        ("/get_reward", {"query": ["a"], "prompts": ["b"]}, "does not hold its prompt"),
        ("/get_reward", {"query": ["a"]}, "the body has no 'prompts'"),
        ("/get_reward", {"query": [], "prompts": []}, "query must not be empty"),
        ("/rm", {"prompt": "a"}, "the body has no 'response'"),
        ("/rm", {"prompt": [], "response": "a"}, "'prompt' must be a list of turns"),
        ("/rm", [], "the body must be an object, found an empty list"),
        ("/rm", {"prompt": 3, "response": "a"}, "prompt must be a text or a list, found the number 3"),
        ("/rm", {"prompt": [3], "response": "a"}, "prompt[0] must be an object, found the number 3"),
        (
            "/rm",
            {"prompt": [{"role": "user", "content": 3}], "response": "a"},
            "prompt[0].content must be a text",
        ),
        ("/get_reward", {"query": ["a", 3], "prompts": ["a"]}, "query[1] must be a text, found the number 3"),
    ],
)
def test_what_is_wrong_is_said(served: Served, path: str, body: Any, says: str) -> None:
    answer = served.http.post(path, json=body)
    assert answer.status_code == 422, answer.text
    assert says in answer.json()["detail"]


def test_what_cannot_be_a_group_is_said_at_once_and_leaves_nothing_in_a_cohort(judge: Judge) -> None:
    options = {"prompt_pattern": "^ask: (.*)", "limits": {"max_responses": 8}}
    with serving(lambda: [judge], cohort=2, cohort_timeout=600, **options) as served:
        refused = ask_openrlhf(served, ["ask: x", "else"], ["ask: x good", "else bad"])()
        assert (refused.status_code, served.service.gatherer.cohorts.n_waiting) == (422, 0)
        half = ask_slime(served, [{"role": "robot", "content": "x"}], "a")()
        assert (half.status_code, served.service.gatherer.cohorts.n_waiting) == (422, 0)
        found = ask_openrlhf(served, ["ask: x"] * 2, ["ask: x good", "ask: x bad"])()
        assert found.headers["yoj-cohort"] == "2/2"


def test_clients_of_two_keys_are_never_in_one_cohort(judge: Judge, tmp_path: Path) -> None:
    keys = [f"a-key-of-sixteen-signs-{n}" for n in range(2)]
    (tmp_path / "keys").write_text("\n".join(keys), encoding="utf-8")
    options = {"cohort": 2, "cohort_timeout": 600, "api_key_file": tmp_path / "keys"}
    with serving(lambda: [judge], **options) as served, ThreadPoolExecutor(4) as pool:
        waiting = []
        for key, text, n_left in ((0, 0, 1), (1, 1, 2), (0, 2, 1), (1, 3, 0)):
            headers = {"Authorization": f"Bearer {keys[key]}"}
            waiting.append(pool.submit(ask_slime(served, PROMPT, RESPONSES[text], **headers)))
            wait_for_members(served, n_left)
        scores = [each.result().json() for each in waiting]
    for first, second in ((0, 2), (1, 3)):
        verdict = judge.score(prompt=PROMPT, responses=[RESPONSES[first], RESPONSES[second]])
        assert [scores[first], scores[second]] == pytest.approx(list(verdict.scores), abs=5e-5)


def test_a_client_that_hangs_up_again_and_again_fills_its_own_share_alone(judge: Judge) -> None:
    with serving(lambda: [judge], cohort=9, cohort_timeout=600, max_waiting=4) as served:
        for n in range(3):
            body = {"prompt": f"{n}?", "response": "a"}
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{served.url}/rm", json=body, timeout=httpx.Timeout(5, read=0.2))
            wait_until(lambda: served.service.admission.n_requests == 0)
        assert served.service.admission.n_groups == 3
        refused = ask_slime(served, "3?", "a")()
        assert (refused.status_code, "of this client" in refused.json()["detail"]) == (429, True)
        served.server.stop()
        wait_until(lambda: served.service.admission.n_groups == 0)
    assert not served.service.admission.of_client


def test_a_cohort_that_no_group_can_hold_is_refused(judge: Judge) -> None:
    with (
        pytest.raises(UsageError, match="--cohort 9: a group may have 8 responses"),
        serving(lambda: [judge], cohort=9, limits={"max_responses": 8}),
    ):
        pass


def test_without_a_cohort_a_joint_judge_refuses_and_a_single_one_answers_at_once(
    judge: Judge, judges: Callable[..., Judge]
) -> None:
    body = {"prompt": PROMPT, "response": RESPONSES[0]}
    with serving(lambda: [judge]) as joint:
        answer = joint.http.post("/rm", json=body)
        assert (answer.status_code, "--cohort N" in answer.json()["hint"]) == (409, True)
    alone = judges("demo", mode="single")
    with serving(lambda: [alone]) as single:
        found = single.http.post("/rm", json=body).json()
        assert found == pytest.approx(alone.score(prompt=PROMPT, responses=RESPONSES[:1]).scores[0], abs=5e-5)


def test_a_chat_template_is_taken_off_where_the_server_knows_it(judge: Judge) -> None:
    template = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    options = {"prompt_pattern": r"(?s)<\|im_start\|>user\n(.*?)<\|im_end\|>", "response_end": "<|im_end|>"}
    with serving(lambda: [judge], cohort=2, **options) as served:
        prompt = template.format(PROMPT)
        queries = [f"{prompt}{response}<|im_end|><pad><pad>" for response in RESPONSES[:2]]
        found = ask_openrlhf(served, [prompt] * 2, queries)().json()
        verdict = judge.score(prompt=PROMPT, responses=RESPONSES[:2])
        assert found["rewards"] == pytest.approx(list(verdict.scores), abs=5e-5)
        wrong = ask_openrlhf(served, ["plain"], ["plain text"])()
        assert (wrong.status_code, wrong.json()["detail"]) == (
            422,
            "the prompt does not match --prompt-pattern",
        )


def test_a_prompt_that_a_pattern_takes_long_for_holds_up_nobody(judge: Judge) -> None:
    pattern = r"(?s)<\|im_start\|>user\n(.*?)<\|im_end\|>"  # of docs/serve.md
    hostile = "<|im_start|>user\n" * 30_000  # in this process it would take minutes
    with (
        serving(lambda: [judge], cohort=2, prompt_pattern=pattern) as served,
        ThreadPoolExecutor(1) as pool,
    ):
        started = time.monotonic()
        refused = pool.submit(ask_slime(served, hostile, "a"))
        while not refused.done():
            asked = time.monotonic()
            assert served.http.get("/health").status_code == 200
            assert time.monotonic() - asked < 5
            time.sleep(0.05)
        assert (refused.result().status_code, "within 1 s" in refused.result().json()["detail"]) == (
            422,
            True,
        )
        assert time.monotonic() - started < 10
        prompts = ["<|im_start|>user\nHi?<|im_end|>"] * 2
        found = ask_openrlhf(served, prompts, [f"{prompt}{n}" for n, prompt in enumerate(prompts)])()
        assert found.status_code == 200


def test_a_server_that_ends_scores_what_waits_for_others(judge: Judge) -> None:
    with serving(lambda: [judge], cohort=4, cohort_timeout=600) as served, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask_slime(served, PROMPT, "Alone."))
        wait_for_members(served, 1)
        served.server.stop()
        answer = waiting.result(timeout=20)
    assert (answer.status_code, answer.headers["yoj-cohort"]) == (200, "1/4")


@pytest.mark.parametrize("pattern", ["(", "no group", "(a)(b)"])
def test_a_pattern_that_does_not_name_the_prompt_is_refused(pattern: str) -> None:
    from yoj_cli.config.serve import ServeConfig

    with pytest.raises(UsageError, match=r"regular expression|groups"):
        ServeConfig(prompt_pattern=pattern)
