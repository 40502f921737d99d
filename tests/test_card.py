"""The model card: what it says, and that nothing it is told can break it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from yoj_cli.train.card import write_card
from yoj_cli.train.card_facts import CardFacts

FACTS = CardFacts(
    name="someone/judge",
    base_model="owner/backbone",
    recipe={"epochs": 3, "learning_rate": 1e-4, "shuffle_responses": True},
    data={"groups": 1200, "groups_of_4": 1200, "groups_with_image": 1000, "longest_tokens": 5012},
    evaluations=[],
    curves="curves.png",
    versions={"yoj-cli": "0.1.0"},
    seconds=7500.0,
    mode="multi",
    loss="ce",
)
NASTY = "a|b\\|c\\\\|d `e` ``f`` \"g\" 'h' <b>i</b> [j](k) *l* _m_ $n$ # o\n---\n```\n: p {q} %"


def an_evaluation(step, best_of_n, **changes):
    line = {"step": step, "eval_loss": 1.0, "eval_best_of_n": best_of_n, "eval_chance": 0.25}
    line |= {"eval_pairs": 0.7, "eval_tau": 0.4, "eval_flipped": 0.08, "eval_n_groups": 200}
    return line | changes


@pytest.fixture
def write(tmp_path):
    """The text of a card: `write(name="x")`."""

    def write(**changes):
        write_card(tmp_path, replace(FACTS, **changes))
        return (tmp_path / "README.md").read_text(encoding="utf-8")

    return write


def metadata(text):
    return ModelCard(text).data.to_dict()


def rows(text):
    """The cells of every table row, as a reader sees them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(ModelCard(text).text)
    found = []
    for at, token in enumerate(tokens):
        if token.type == "tr_open":
            found.append([])
        if token.type in ("td_open", "th_open"):
            found[-1].append("".join(child.content for child in tokens[at + 1].children))
    return found


def headings(text):
    tokens = MarkdownIt("commonmark").enable("table").parse(ModelCard(text).text)
    return [tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "heading_open"]


def test_the_hub_learns_what_the_model_is(write):
    data = metadata(write(datasets=["owner/rankings"]))
    assert data["base_model"] == "owner/backbone"
    assert data["library_name"] == "yoj-cli"
    assert data["pipeline_tag"] == "text-ranking"
    assert data["datasets"] == ["owner/rankings"]
    assert "reward-model" in data["tags"]


@pytest.mark.parametrize("base", ["/home/me/backbone", "demo", "../backbone", 'a: b\n"'])
def test_a_base_that_is_not_on_the_hub_is_named_in_the_text_only(write, base):
    text = write(base_model=base, datasets=["/home/me/rankings"])
    assert "base_model" not in metadata(text)
    assert "datasets" not in metadata(text)
    assert " ".join(base.split()) in ModelCard(text).text


def test_results_are_those_of_the_last_evaluation(write):
    text = write(evaluations=[an_evaluation(0, 0.25), an_evaluation(10, 0.6), an_evaluation(20, 0.5)])
    (index,) = metadata(text)["model-index"]
    values = {metric["name"]: metric["value"] for metric in index["results"][0]["metrics"]}
    assert values == {"best of N right": 0.5, "pairs in the right order": 0.7, "Kendall's tau": 0.4}
    assert index["name"] == "someone/judge"


def test_first_best_and_last_evaluation_stand_side_by_side(write):
    text = write(evaluations=[an_evaluation(0, 0.25), an_evaluation(10, 0.6), an_evaluation(20, 0.5)])
    assert ["", "first, step 0", "best, step 10", "last, step 20"] in rows(text)
    # By hand: sqrt(0.25 * 0.75 / 200) = 0.0306, sqrt(0.6 * 0.4 / 200) = 0.0346, sqrt(0.5 * 0.5 / 200) = 0.0354
    assert ["best of N right", "25.0% ± 3.1%", "60.0% ± 3.5%", "50.0% ± 3.5%"] in rows(text)


def test_an_evaluation_in_two_roles_is_one_column(write):
    assert ["", "first and best and last, step 5"] in rows(write(evaluations=[an_evaluation(5, 0.4)]))
    both = rows(write(evaluations=[an_evaluation(0, 0.2), an_evaluation(9, 0.4)]))
    assert ["", "first, step 0", "best and last, step 9"] in both


def test_a_measure_that_is_no_number_is_a_dash(write):
    text = write(evaluations=[an_evaluation(5, 0.4, eval_tau=float("nan"))])
    assert ["Kendall's tau", "–"] in rows(text)
    names = [metric["name"] for metric in metadata(text)["model-index"][0]["results"][0]["metrics"]]
    assert "Kendall's tau" not in names


def test_a_judge_that_was_not_evaluated_says_so(write):
    text = write()
    assert "how well it ranks is not known" in text
    assert "It was not evaluated." in text
    assert "model-index" not in metadata(text)


def test_the_sensitivity_to_the_order_is_said_as_measured(write):
    measured = [an_evaluation(5, 0.4)]
    assert "changed the winner in 8.0% ± 1.9% of the held-out" in write(evaluations=measured)
    assert "was not measured" in write()
    assert "does not matter" in write(mode="single", evaluations=measured)


def test_held_out_groups_that_were_trained_on_are_confessed(write):
    measured = [an_evaluation(5, 0.4)]
    assert "3 of the held-out groups are in the training data" in write(evaluations=measured, n_shared=3)
    assert "in the training data too" not in write(evaluations=measured, n_shared=0)


def test_counts_and_settings_are_told_in_words(write):
    found = rows(write())
    assert ["groups", "1,200"] in found
    assert ["groups of 4 responses", "1,200"] in found
    assert ["tokens of the longest group", "5,012"] in found
    assert ["shuffle_responses", "yes"] in found
    assert ["learning_rate", "0.0001"] in found
    assert ["yoj-cli", "0.1.0"] in found
    assert ["wall time of the last session", "2 h 05 min"] in found


def test_tokens_that_were_not_counted_are_not_said_to_be_none(write):
    found = rows(write(data={"groups": 2, "longest_tokens": 0, "left_out_too_long": 0}))
    assert not [row for row in found if "tokens" in row[0]]
    assert ["groups left out: too long", "0"] in found


def test_the_curves_are_shown_where_they_are(write, tmp_path):
    assert "![" not in write()
    (tmp_path / "my curves.png").write_bytes(b"")
    assert "](my%20curves.png)" in write(curves="my curves.png")
    assert "![" not in write(curves=None)


def test_the_commands_of_the_card_can_be_copied(write):
    assert "\nyoj score candidates.jsonl -m someone/judge\n" in write()
    text = write(name="my judge's")
    assert "-m 'my judge'\"'\"'s'\n" in text
    python = text.split("```python\n")[1].split("```")[0]
    compile(python, "card", "exec")
    assert 'Judge.load("my judge\'s")' in python


def test_nothing_a_card_is_told_can_break_it(write):
    plain = write(evaluations=[an_evaluation(5, 0.4)])
    text = write(
        name=NASTY,
        base_model=NASTY,
        recipe={NASTY: NASTY, "path": NASTY},
        data={NASTY: NASTY, "groups": 1},
        versions={NASTY: NASTY},
        loss=NASTY,
        datasets=[NASTY],
        evaluations=[an_evaluation(5, 0.4)],
    )
    assert metadata(text)["library_name"] == "yoj-cli"
    assert metadata(text).keys() == metadata(plain).keys() - {"base_model"}
    assert headings(text)[1:] == headings(plain)[1:]
    assert {len(row) for row in rows(text)} == {2}
    shown = " ".join(NASTY.split())
    assert ["path", shown] in rows(text)
    assert [shown, shown] in rows(text)
    html = MarkdownIt("commonmark").enable("table").render(ModelCard(text).text)
    assert "<b>" not in html
    assert 'href="k"' not in html


def test_a_card_is_replaced_as_a_whole(write, tmp_path):
    write(recipe={"epochs": 7})
    assert ["epochs", "3"] in rows(write())
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
