"""`yoj votes rank | sample | explain` as commands, and the samples that are drawn."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter

import pytest

from yoj_cli.groups import Group, Message
from yoj_cli.records.parse import read_groups
from yoj_cli.votes.reliability import measure_agreement
from yoj_cli.votes.sample import sample_variants
from yoj_cli.votes.vote import Vote, VotedGroup

ROW = {"group": "g", "prompt": "which?", "image": "p.png"}
TEXTS = {"x": "the X", "y": "the Y", "z": "the Z"}


def vote(a, b, winner, annotator="kim", **fields):
    return {
        **ROW,
        "a": a,
        "b": b,
        "winner": winner,
        "annotator": annotator,
        "a_text": TEXTS[a],
        "b_text": TEXTS[b],
        **fields,
    }


CYCLE = [
    vote("x", "y", "a", weight=3),
    vote("y", "z", "a", weight=2),
    vote("z", "x", "a"),
    vote("x", "y", "tie", "lee"),
]


def lines_of(text):
    return [json.loads(line) for line in text.splitlines()]


def test_rank_writes_the_training_format_with_the_support_of_each_group(yoj, write_lines):
    code, out, err = yoj("votes", "rank", write_lines(*CYCLE))
    (record,) = lines_of(out)
    assert code == 0
    assert record["responses"] == ["the X", "the Y", "the Z"]
    assert (record["id"], record["rankings"], record["names"]) == ("g", [1, 2, 3], ["x", "y", "z"])
    assert (record["prompt"], record["image"]) == ("which?", "p.png")
    assert record["support"] == {
        "method": "graph", "votes": 4, "annotators": 2, "ties": 1, "pairs": 3, "of_pairs": 3, "majorities": 3,
        "respected": 2, "cut": [["z", "x", 1.0]],
    }  # fmt: skip
    assert "1 group · 4 votes by 2 annotators, 1 tie · 3 of 3 pairs (100%)" in err
    assert (
        "cycles in 1 of 2 single annotators' graphs, 1 of 1 group after joining · 1 edge removed, weight 1"
        in err
    )
    assert "graph: 2 of 3 net majorities respected" in err


def test_what_rank_writes_can_be_read_as_groups(yoj, write_lines, tmp_path):
    out = tmp_path / "ranked.jsonl"
    assert yoj("votes", "rank", write_lines(*CYCLE), "-o", out, "--figures", tmp_path / "f.json")[0] == 0
    (group,) = read_groups(str(out))
    assert group.rankings == (1, 2, 3)
    figures = json.loads((tmp_path / "f.json").read_text())
    assert (figures["n_votes"], figures["n_cut"], figures["compared"]) == (4, 1, "bradley-terry")


def test_votes_come_from_a_pipe_as_csv_too(yoj):
    code, out, _ = yoj("votes", "rank", "-", "--no-texts", stdin="group,a,b,winner\nq,m,n,b\n")
    assert code == 0
    assert lines_of(out)[0] | {"support": None} == {
        "id": "q",
        "rankings": [2, 1],
        "names": ["m", "n"],
        "support": None,
    }


def test_without_texts_rank_says_how_to_give_them(yoj, write_lines):
    code, out, err = yoj("votes", "rank", write_lines({"group": "q", "a": "m", "b": "n", "winner": "b"}))
    assert (code, out) == (2, "")
    assert "group 'q' lacks the text of 'm', 'n'" in err
    assert "--texts FILE" in err


def test_skipped_rows_and_groups_are_listed_and_the_exit_code_is_1(yoj, write_lines):
    path = write_lines(*CYCLE, vote("x", "y", "?"), {"group": "h", "a": "m", "b": "n", "winner": "a"})
    assert yoj("votes", "rank", path)[0] == 2
    code, out, err = yoj("votes", "rank", path, "--on-error", "skip")
    assert (code, len(lines_of(out))) == (1, 1)
    assert "data.jsonl:5: the winner, '?'" in err
    assert "data.jsonl:6: group 'h' lacks the text" in err


@pytest.mark.parametrize(
    "method", ["copeland", "wins", "win-rate", "bradley-terry", "newman", "elo", "pagerank"]
)
def test_every_method_puts_the_one_that_wins_most_first(yoj, write_lines, method):
    votes = [vote("x", "y", "a"), vote("x", "z", "a"), vote("y", "z", "a"), vote("z", "y", "a")]
    code, out, err = yoj("votes", "rank", write_lines(*votes), "--method", method, "--compare", "graph")
    assert code == 0
    assert lines_of(out)[0]["rankings"] == ([1, 3, 2] if method == "elo" else [1, 2, 2])
    assert f"{method} and graph: tau-b " in err


def test_explain_shows_edges_cuts_and_reasons(yoj, write_lines, tmp_path):
    code, out, _ = yoj("votes", "explain", write_lines(*CYCLE), "g", "--dot", tmp_path / "g.dot")
    assert code == 0
    assert "   1  x\n   2  y\n   3  z\n" in out
    assert "  x > y  3 : 0\n" in out
    assert "  z > x  1 : 0  cut\n" in out
    assert "  z > x (net 1): z > x > y > z" in out
    dot = (tmp_path / "g.dot").read_text()
    assert dot.startswith("digraph votes {")
    assert '"z" -> "x" [label="1", color=red, style=dashed' in dot


def test_explain_finds_a_group_by_its_prompt_and_names_even_pairs(yoj, write_lines):
    rows = [{"prompt": "p", "a": "m", "b": "n", "winner": winner} for winner in "ab"]
    code, out, _ = yoj("votes", "explain", write_lines(*rows), "p")
    assert code == 0
    assert "m = n  1 : 1, no edge" in out
    assert "no cycle, nothing cut" in out
    assert yoj("votes", "explain", write_lines(*rows), "q")[0] == 2


def test_names_that_a_terminal_acts_on_are_made_harmless(yoj, write_lines):
    rows = [{"group": "g\x1b[2J", "a": "m\x1b]0;t\x07", "b": "n\nfake: 1", "winner": "a"}]
    path = write_lines(*rows)
    _, out, err = yoj("votes", "explain", path, "g\x1b[2J")
    assert "\x1b" not in out + err
    assert "n fake: 1" in out


def test_a_missing_extra_is_a_usage_error(yoj, write_lines, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr("yoj_cli.errors.find_spec", lambda name: None if name == "networkx" else find(name))
    code, _, err = yoj("votes", "rank", write_lines(*CYCLE))
    assert code == 2
    assert "pip install 'yoj-cli[eval]'" in err


def test_a_file_without_votes_is_an_error(yoj, write_lines):
    code, _, err = yoj("votes", "rank", write_lines(""))
    assert code == 2
    assert "there is no vote in it" in err
    assert "yoj: stdin: there is no vote in it" in yoj("votes", "rank", "-", stdin="\n")[2]


def test_alpha_is_1_for_agreement_0_or_less_for_coin_tosses_and_knows_no_names():
    """The better one's name sorts first in every pair: by names alone, alpha would call agreement chance."""
    pairs = [(f"a{i}", f"b{i}") for i in range(60)]
    agree = VotedGroup("g", votes=[Vote(*pair, "a", who) for pair in pairs for who in "12"])
    found = measure_agreement([agree])
    assert found is not None
    assert (found.value, found.n_pairs) == (1.0, 60)
    split = [
        Vote(*pair, "a" if (n + int(who)) % 2 else "b", who) for n, pair in enumerate(pairs) for who in "12"
    ]
    against = measure_agreement([VotedGroup("g", votes=split)])
    assert against is not None
    assert against.value < -0.9


def test_alpha_needs_two_annotators_on_one_pair():
    assert (
        measure_agreement([VotedGroup("g", votes=[Vote("a", "b", "a", "1"), Vote("a", "c", "a", "2")])])
        is None
    )


def group_of(name, ranks, texts=None):
    texts = texts or [f"{name} {i}" for i in range(len(ranks))]
    record = {"id": name, "prompt": "p", "names": [f"m{i}" for i in range(len(ranks))]}
    return Group(name, (Message("user", ("p",)),), tuple(texts), tuple(map(float, ranks)), record)


def test_variants_have_n_responses_a_unique_best_and_their_source():
    groups = [group_of(f"g{k}", [1, 1, 3, 4, 4, 6]) for k in range(40)]
    found = sample_variants(groups, 4, unique_best=True, per_group=3, seed=1)
    assert len(found.records) == 40 * 3
    for record in found.records:
        assert record["rankings"].count(1) == 1
        source = record["sampled_from"]
        assert record["responses"] == [f"{source['id']} {i}" for i in source["responses"]]
        assert record["names"] == [f"m{i}" for i in source["responses"]]
    sets = [(r["sampled_from"]["id"], frozenset(r["sampled_from"]["responses"])) for r in found.records]
    assert len(set(sets)) == len(sets)


def test_the_best_response_stands_in_each_place_equally_often():
    groups = [group_of(f"g{k}", [1, 2, 3, 4, 5]) for k in range(40)]
    found = sample_variants(groups, 4, unique_best=True)
    assert Counter(record["rankings"].index(1) for record in found.records) == dict.fromkeys(range(4), 10)


def test_every_set_that_fits_is_drawn_equally_often():
    # With a unique best of [1, 1, 3, 4] and N=2: all pairs but the first two, 5 of them.
    counts: Counter[tuple[int, ...]] = Counter()
    for seed in range(1000):
        (record,) = sample_variants([group_of("g", [1, 1, 3, 4])], 2, unique_best=True, seed=seed).records
        counts[tuple(sorted(record["sampled_from"]["responses"]))] += 1
    assert len(counts) == 5
    assert all(150 < count < 250 for count in counts.values())


def test_a_sample_follows_from_the_seed_and_the_groups_id_alone():
    groups = [group_of(f"g{k}", [1, 2, 3, 4, 5]) for k in range(5)]
    one = {r["id"]: set(r["sampled_from"]["responses"]) for r in sample_variants(groups, 3, seed=2).records}
    two = {
        r["id"]: set(r["sampled_from"]["responses"]) for r in sample_variants(groups[::-1], 3, seed=2).records
    }
    assert one == two


def test_groups_that_give_no_variant_are_counted_with_the_reason():
    groups = [
        group_of("few", [1, 2, 3]),
        group_of("same", [1, 2, 3, 4], ["t", "t", "u", "v"]),
        group_of("tied", [1, 1, 1, 1]),
        group_of("no best", [1, 1, 1, 4]),
    ]
    found = sample_variants(groups, 4, unique_best=True)
    assert (found.records, found.too_few, found.no_best) == ([], ["few", "same"], ["tied", "no best"])
    assert found.n_duplicates == 1
    assert len(sample_variants(groups, 4).records) == 1


def test_sample_as_a_command_renumbers_the_ranks_and_reports(yoj, write_lines):
    path = write_lines(
        {"id": "q", "prompt": "p", "responses": list("abcde"), "rankings": [5, 4, 3, 2, 1], "support": {}}
    )
    code, out, err = yoj("votes", "sample", path, "--n", 3, "--unique-best", "--per-group", 20)
    records = lines_of(out)
    assert (code, len(records)) == (0, 10)
    assert {tuple(sorted(record["rankings"])) for record in records} == {(1, 2, 3)}
    assert "support" not in records[0]
    assert "10 variants of 3 responses · 1 group with fewer variants than asked for" in err
    assert sorted(records[0]) == ["id", "prompt", "rankings", "responses", "sampled_from"]


def test_sample_refuses_lines_without_rankings(yoj, write_lines):
    path = write_lines({"prompt": "p", "responses": ["a", "b"]})
    assert yoj("votes", "sample", path)[0] == 2
    code, out, err = yoj("votes", "sample", path, "--on-error", "skip")
    assert (code, out) == (1, "")
    assert "the group has no rankings" in err
