"""Rows of votes: every shape that is read, and what is said of those that cannot be."""

from __future__ import annotations

import gzip
import json

import pytest

from yoj_cli.config.votes import parse_columns
from yoj_cli.errors import InputError, UsageError
from yoj_cli.votes.collect import find_group, read_votes
from yoj_cli.votes.parse import parse_row
from yoj_cli.votes.vote import Vote

COLUMNS = parse_columns(None)


def row(**fields):
    return parse_row({"group": "g", "a": "x", "b": "y", "winner": "a", **fields}, COLUMNS, default_id="7")


def test_a_vote_has_names_a_winner_an_annotator_and_a_weight():
    found = row(annotator="kim", weight=2, a_text="one", prompt="which?", image="p.png")
    assert found.votes == [Vote("x", "y", "a", "kim", 2.0)]
    assert (found.key, found.id, found.texts) == ("g", "g", {"x": "one"})
    assert found.fields == {"prompt": "which?", "image": "p.png"}


@pytest.mark.parametrize(
    ("winner", "meant"),
    [("a", "a"), ("B", "b"), ("tie", "tie"), ("model_b", "b"), ("y", "b"), ("tie (bothbad)", "tie")],
)
def test_a_winner_is_a_place_a_tie_or_a_name(winner, meant):
    assert row(winner=winner).votes[0].winner == meant


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"winner": "z"}, "the winner, 'z', is none of a, b, tie and the two names"),
        ({"winner": True}, "the winner, true or false, is none"),
        ({"winner": None}, "the row has no 'winner'; it has 'group', 'a', 'b', 'winner'"),
        ({"a": "b", "b": "a"}, "says two things"),
        ({"b": "x"}, "names 'x' twice"),
        ({"a": ["x"]}, "'a' must be a text or a whole number, found a list"),
        ({"weight": 0}, "'weight' must be a number above 0, up to 1e.09, found the number 0"),
        ({"weight": 1e308}, "up to 1e.09, found the number 1e.308"),
        ({"weight": "much"}, "up to 1e.09, found 'much'"),
        ({"weight": "nan"}, "'weight' must be a number above 0"),
        ({"a_text": 3}, "'a_text' must be a text, found the number 3"),
        ({"prompt": {}}, "'prompt' must be a text"),
        ({"group": None}, "the row has no 'group'"),
    ],
)
def test_what_is_wrong_with_a_vote_is_said(fields, says):
    with pytest.raises(InputError, match=says.replace("(", r"\(")):
        row(**fields)


def test_columns_can_have_other_names():
    columns = parse_columns("group=question_id, a=model_a,b=model_b,winner=vote")
    found = parse_row({"question_id": 81, "model_a": "x", "model_b": "y", "vote": "model_b"}, columns)
    assert (found.key, found.votes) == ("81", [Vote("x", "y", "b")])


@pytest.mark.parametrize("text", ["a", "who=x", "a="])
def test_columns_that_mean_nothing_are_refused(text):
    with pytest.raises(UsageError, match="is not NAME=COLUMN"):
        parse_columns(text)


def test_whole_rankings_are_all_their_pairs_for_each_annotator():
    record = {"id": "q", "prompt": "p", "responses": ["A", "B", "C"], "rankings": [[1, 2, 2], [None, 1, 2]]}
    found = parse_row(record, COLUMNS)
    assert found.votes == [
        Vote("0", "1", "a", "1"),
        Vote("0", "2", "a", "1"),
        Vote("1", "2", "tie", "1"),
        Vote("1", "2", "a", "2"),
    ]
    by_name = parse_row({**record, "rankings": {"kim": [1, 2, 2], "lee": [None, 1, 2]}}, COLUMNS)
    assert [vote.annotator for vote in by_name.votes] == ["kim", "kim", "kim", "lee"]
    alone = parse_row(
        {**record, "rankings": [3, 2, 1], "annotator": "kim", "names": ["x", "y", "z"]}, COLUMNS
    )
    assert alone.votes[0] == Vote("x", "y", "b", "kim")


def test_pairwise_records_name_places():
    record = {
        "id": "q",
        "prompt": "p",
        "responses": ["A", "B"],
        "models": ["x", "y"],
        "pairwise": [[0, 1, 2], [1, 0, 0, "kim"]],
    }
    assert parse_row(record, COLUMNS).votes == [Vote("x", "y", "b"), Vote("y", "x", "tie", "kim")]


@pytest.mark.parametrize("entry", [[0, 1], [0, 2, 1], [0, 1, 3], [0, True, 1], "01", [1, 1, 1]])
def test_a_bad_pair_is_refused(entry):
    with pytest.raises(InputError, match="'pairwise"):
        parse_row({"id": "q", "prompt": "p", "responses": ["A", "B"], "pairwise": [entry]}, COLUMNS)


def test_helpsteer_lines_have_a_vote_of_each_annotator():
    record = {
        "context": [{"role": "user", "content": "hi"}],
        "response1": "A",
        "response2": "B",
        "overall_preference": 1,
        "individual_preference": [{"score": -2, "reasoning": ""}, {"score": 0}, {"score": 3}],
    }
    found = parse_row(record, COLUMNS, default_id="12")
    assert [vote.winner for vote in found.votes] == ["a", "tie", "b"]
    assert [vote.annotator for vote in found.votes] == ["1", "2", "3"]
    assert (found.id, found.texts) == ("12", {"response1": "A", "response2": "B"})
    assert found.fields["messages"] == record["context"]


def write(tmp_path, text, name="votes.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_csv_is_told_by_its_first_character_whatever_its_name(tmp_path):
    text = 'group,a,b,winner,a_text\nq,x,y,a,"two\nlines, quoted"\nq,x,y,tie,\n'
    for name, data in (("v.txt", text.encode()), ("v.csv.gz", gzip.compress(text.encode()))):
        votes = read_votes([write(tmp_path, data, name)], COLUMNS)
        (group,) = votes.groups
        assert [vote.winner for vote in group.votes] == ["a", "tie"]
        assert group.texts == {"x": "two\nlines, quoted"}


def test_a_bad_row_is_named_by_its_line_and_skipped_where_asked(tmp_path):
    path = write(tmp_path, 'group,a,b,winner,a_text\nq,x,y,a,"two\nlines"\nq,x,y,z,\nq,x\nq,x,y,b,\n')
    with pytest.raises(InputError, match=r"votes\.csv:4: the winner, 'z'"):
        read_votes([path], COLUMNS)
    votes = read_votes([path], COLUMNS, skip=True)
    assert [error.where.rpartition(":")[2] for error in votes.errors] == ["4", "5"]
    assert "2 cells, and the header 5" in votes.errors[1].what
    assert len(votes.groups[0].votes) == 2


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"a,a,b\n", "two columns are called 'a'"),
        (b'group,a\n"open', "this is not CSV"),
        (b"group,a\n\xff,b\n", "not UTF-8"),
        (b'[\n{"a": 1}\n]\n', "yoj votes rank -"),
        (b"PK\x03\x04abc\n", "zip"),
    ],
)
def test_files_that_are_no_votes_are_named_with_the_reason(tmp_path, data, says):
    with pytest.raises(InputError) as caught:
        read_votes([write(tmp_path, data)], COLUMNS)
    assert says in str(caught.value)


def test_a_cell_may_be_longer_than_pythons_limit(tmp_path):
    path = write(tmp_path, f"group,a,b,winner,a_text\nq,x,y,a,{'w' * 200_000}\n")
    assert len(read_votes([path], COLUMNS).groups[0].texts["x"]) == 200_000


def test_votes_on_one_prompt_come_together_and_without_group_the_number_is_the_id(write_lines):
    vote = {"prompt": "p", "a": "x", "b": "y", "winner": "a"}
    path = write_lines(vote, {**vote, "prompt": "q"}, {**vote, "b": "z"})
    groups = read_votes([str(path)], COLUMNS).groups
    assert [(group.id, group.key, group.names) for group in groups] == [
        ("1", "p", ["x", "y", "z"]),
        ("2", "q", ["x", "y"]),
    ]
    assert find_group(groups, "2") is find_group(groups, "q")
    with pytest.raises(InputError, match="no group 'r'"):
        find_group(groups, "r")


def test_one_name_cannot_have_two_texts(write_lines):
    vote = {"group": "g", "a": "x", "b": "y", "winner": "a", "a_text": "one"}
    path = write_lines(vote, {**vote, "a_text": "two"})
    with pytest.raises(InputError, match=r":2: the text of 'x' is another one than before"):
        read_votes([str(path)], COLUMNS)


def test_texts_come_from_another_file_by_group_or_by_prompt(write_lines):
    votes = write_lines(
        {"group": "g", "a": "x", "b": "y", "winner": "a"},
        {"prompt": "why", "a": "0", "b": "1", "winner": "a"},
        name="votes.jsonl",
    )
    texts = write_lines(
        {"id": "g", "prompt": "p", "image": "i.png", "responses": ["A", "B", "C"], "names": ["x", "y", "z"]},
        {"prompt": "why", "responses": ["D", "E"]},
        {"group": "other", "name": "x", "text": "?"},
        name="texts.jsonl",
    )
    found = read_votes([str(votes)], COLUMNS, texts=str(texts))
    assert found.groups[0].texts == {"x": "A", "y": "B", "z": "C"}
    assert found.groups[0].names == ["x", "y"]
    assert found.groups[0].fields == {"prompt": "p", "image": "i.png"}
    assert found.groups[1].texts == {"0": "D", "1": "E"}
    assert found.n_without_votes == 2  # z, and the other group's x


def test_texts_one_a_line(write_lines):
    votes = write_lines({"group": 1, "a": "x", "b": "y", "winner": "a"}, name="votes.jsonl")
    texts = write_lines(
        {"group": 1, "name": "x", "text": "A", "prompt": "p"},
        {"group": 1, "name": "y", "text": "B"},
        name="t.jsonl",
    )
    assert read_votes([str(votes)], COLUMNS, texts=str(texts)).groups[0].texts == {"x": "A", "y": "B"}
    bad = write_lines({"group": 1, "name": "x"}, name="bad.jsonl")
    with pytest.raises(InputError, match="the row has no 'text'"):
        read_votes([str(votes)], COLUMNS, texts=str(bad))


def test_votes_exported_from_a_report_are_read():
    line = {
        "group": "a#3",
        "prompt": "p",
        "a": "0",
        "b": "1",
        "winner": "tie",
        "annotator": "reader",
        "a_text": "A",
        "b_text": "B",
    }
    assert parse_row(json.loads(json.dumps(line)), COLUMNS).votes == [Vote("0", "1", "tie", "reader")]
