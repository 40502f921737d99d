"""Converters of public preference sets: hand-written rows of the real schemas."""

from __future__ import annotations

from typing import Any

import pytest

from yoj_cli.errors import InputError
from yoj_cli.records.parse import parse
from yoj_cli.records.sets import SETS
from yoj_cli.records.sets.dialogue import parse_dialogue
from yoj_cli.records.sets.public_set import LeftOutError, Record

BY_NAME = {each.name: each for each in SETS}
PICTURE = {"bytes": b"\x89PNG\r\n\x1a\n...", "path": "1.png"}


def feedback(response: str, score: Any, fine: float = 3.0) -> dict[str, Any]:
    return {
        "response": response,
        "model": f"m-{response}",
        "overall_score": score,
        "fine-grained_score": fine,
    }


def rated(response: str, *ratings: str) -> dict[str, Any]:
    aspects = ("Helpfulness", "Visual Faithfulness", "Ethical Considerations")
    return {
        "response": response,
        "model": "m",
        "annotations": {
            name: {"Rating": rating, "Rationale": ""} for name, rating in zip(aspects, ratings, strict=True)
        },
    }


def said(*texts: str, names: tuple[str, str] = ("role", "content")) -> list[dict[str, str]]:
    roles = ("user", "assistant") if names[0] == "role" else ("human", "gpt")
    return [{names[0]: roles[i % 2], names[1]: text} for i, text in enumerate(texts)]


LLAVA = ("from", "value")
CRITIC = (
    "Given an image … Question: [What is it?]\n"
    "The first response: [A cat]\nThe second response: [A dog]\nASSISTANT:\n"
)

ROWS: dict[str, tuple[dict[str, Any], Record]] = {
    "ultrafeedback": (
        {"instruction": "Hi?", "completions": [feedback("a", 7.5), feedback("b", 9), feedback("c", 7.5)]},
        {"prompt": "Hi?", "responses": ["a", "b", "c"], "rankings": [2, 1, 2]},
    ),
    "nectar": (
        {
            "prompt": "\n\nHuman: Hi?\n\nAssistant: ",
            "answers": [
                {"answer": "a", "model": "x", "rank": 2.0},
                {"answer": "b", "model": "y", "rank": 1.0},
            ],
        },
        {"prompt": "Hi?", "responses": ["a", "b"], "rankings": [2, 1]},
    ),
    "helpsteer3": (
        {
            "context": said("One?", "Two.", "Three?"),
            "response1": "a",
            "response2": "b",
            "overall_preference": -2,
            "individual_preference": [{"score": -3}, {"score": 0}, {"score": 1}],
        },
        {
            "messages": said("One?", "Two.", "Three?"),
            "rankings": [1, 2],
            "pairwise": [[0, 1, 1, "annotator 1"], [0, 1, 0, "annotator 2"], [0, 1, 2, "annotator 3"]],
        },
    ),
    "vlfeedback": (
        {
            "id": "v1",
            "prompt": "<image>\nWhat?",
            "img_path": "merged/1.jpg",
            "completions": [rated("a", "3", "4", "5"), rated("b", "5", "5", "5"), rated("c", "4", "4", "4")],
        },
        {"id": "v1", "prompt": "What?", "images": ["merged/1.jpg"], "rankings": [2, 1, 2]},
    ),
    "rlaif-v": (
        {"image": PICTURE, "question": "What?", "chosen": "a", "rejected": "b", "idx": 7},
        {"id": "7", "prompt": "What?", "images": [PICTURE], "responses": ["a", "b"], "rankings": [1, 2]},
    ),
    "llava-critic": (
        {
            "id": "c",
            "image": PICTURE,
            "conversations": said(CRITIC, "The second response is better, because …", names=LLAVA),
        },
        {"prompt": "What is it?", "responses": ["A cat", "A dog"], "rankings": [2, 1]},
    ),
    "mm-rlhf": (
        {"id": 3, "video": "video/clip", "prompt": "<video>\nWhat?", "chosen": "a", "rejected": "b"},
        {"id": "3", "prompt": "What?", "videos": ["video/clip"], "responses": ["a", "b"]},
    ),
    "hh-rlhf": (
        {
            "chosen": "\n\nHuman: One?\n\nAssistant: Two.\n\nHuman: Three?\n\nAssistant: a",
            "rejected": "\n\nHuman: One?\n\nAssistant: Two.\n\nHuman: Three?\n\nAssistant: b\n\nstill b",
        },
        {
            "messages": said("One?", "Two.", "Three?"),
            "responses": ["a", "b\n\nstill b"],
            "rankings": [1, 2],
        },
    ),
    "skywork": (
        {"chosen": said("Hi?", "a"), "rejected": said("Hi?", "b"), "source": "part"},
        {"prompt": "Hi?", "responses": ["a", "b"], "rankings": [1, 2], "source": "part"},
    ),
    "pku-saferlhf": (
        {
            "prompt": "Hi?",
            "response_0": "a",
            "response_1": "b",
            "better_response_id": 1,
            "safer_response_id": 0,
        },
        {"prompt": "Hi?", "responses": ["a", "b"], "rankings": [2, 1], "safer": 0},
    ),
    "wildvision": (
        {
            "question_id": "q",
            "image": PICTURE,
            "model_a": "x",
            "model_b": "y",
            "winner": "tie (bothbad)",
            "conversation_a": said("What?", "a"),
            "conversation_b": said("What?", "b"),
        },
        {"id": "q", "prompt": "What?", "responses": ["a", "b"], "rankings": [1, 1], "models": ["x", "y"]},
    ),
    "povid": (
        {
            "id": "p",
            "image": "000000000001.jpg",
            "conversations": said("<image>\nWhat?", "a", names=LLAVA),
            "rejected_conversations": said("<image>\nWhat?", "b", names=LLAVA),
        },
        {"id": "p", "prompt": "What?", "images": ["000000000001.jpg"], "responses": ["a", "b"]},
    ),
    "tulu": (
        {"id": "t", "prompt": "Hi?", "chosen": said("Hi?", "a"), "rejected": said("Hi?", "b"), "source": "s"},
        {"id": "t", "prompt": "Hi?", "responses": ["a", "b"], "rankings": [1, 2]},
    ),
}


def test_every_set_is_tested() -> None:
    assert set(ROWS) == set(BY_NAME)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_becomes_a_record_that_training_reads(name: str) -> None:
    row, expected = ROWS[name]
    record = BY_NAME[name].convert(row)
    assert {key: record[key] for key in expected} == expected
    shown = {key: ["x.png"] for key in ("images", "videos") if key in record}
    assert parse({**record, **shown}).rankings == tuple(record["rankings"])


@pytest.mark.parametrize("name", ROWS)
def test_a_missing_column_names_what_was_looked_for_and_what_is_there(name: str) -> None:
    with pytest.raises(InputError, match=r"looked for .*; found other, strange") as caught:
        BY_NAME[name].convert({"strange": 1, "other": 2})
    assert "no column for" in caught.value.what


LEFT_OUT = {
    "ultrafeedback": {"instruction": "p", "completions": [feedback("a", 10.0, 3.0), feedback("b", 5)]},
    "nectar": {"prompt": "p", "answers": [{"answer": "a", "rank": None}]},
    "helpsteer3": {**ROWS["helpsteer3"][0], "overall_preference": None},
    "vlfeedback": {**ROWS["vlfeedback"][0], "completions": [rated("a", "3", "N/A", "5")]},
    "llava-critic": {"image": PICTURE, "conversations": said("no task", "no verdict", names=LLAVA)},
    "hh-rlhf": {
        "chosen": "\n\nHuman: One?\n\nAssistant: a",
        "rejected": "\n\nHuman: Two?\n\nAssistant: b",
    },
    "skywork": {"chosen": said("Hi?", "a"), "rejected": said("Hi?")},
    "pku-saferlhf": {**ROWS["pku-saferlhf"][0], "better_response_id": -1},
    "wildvision": {**ROWS["wildvision"][0], "winner": "nobody asked"},
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_row_without_a_preference_that_can_be_used_is_left_out(name: str) -> None:
    with pytest.raises(LeftOutError):
        BY_NAME[name].convert(LEFT_OUT[name])


def test_ultrafeedbacks_wrong_tens_are_corrected_as_its_publishers_did() -> None:
    record = BY_NAME["ultrafeedback"].convert(
        {
            "instruction": "p",
            "completions": [feedback("a", 10, 1.5), feedback("b", 10, 4.5), feedback("c", 5)],
        }
    )
    assert record["rankings"] == [3, 1, 2]
    assert record["corrected_scores"] == 1
    assert record["scores_given"] == [1, 10, 5]


def test_a_list_of_objects_may_come_as_an_object_of_lists() -> None:
    row, expected = ROWS["nectar"]
    columns = {key: [answer[key] for answer in row["answers"]] for key in ("answer", "model", "rank")}
    assert BY_NAME["nectar"].convert({**row, "answers": columns})["rankings"] == expected["rankings"]


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        ("Human: a\n\nAssistant: b", [("user", "a"), ("assistant", "b")]),
        ("\n\nHuman: a\n\nb\n\nAssistant:", [("user", "a\n\nb"), ("assistant", "")]),
        ("\n\nHuman: a\n\nAssistant: b\n\nAssistant: c", [("user", "a"), ("assistant", "b\n\nc")]),
        ("He said\n\nHuman: a", []),
    ],
)
def test_a_dialogue_is_cut_where_somebody_speaks(text: str, turns: list[tuple[str, str]]) -> None:
    assert [(turn["role"], turn["content"]) for turn in parse_dialogue(text)] == turns
