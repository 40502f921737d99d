"""A reward whose judge sits behind a server, in a process and with libraries of its own."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import warnings

import pytest

from tests.serving import serving
from tests.test_group_reward import LINES, batch, make
from yoj_cli import Judge, UsageError
from yoj_cli.errors import ServerError
from yoj_cli.rewards import GroupReward
from yoj_cli.rewards.loaded import loaded_judge


@pytest.fixture(scope="module")
def url():
    with Judge.load("demo", device="cpu", mode="multi") as judge, serving(lambda: [judge]) as served:
        yield served.url
        GroupReward(server=served.url).close()


def test_a_servers_judge_gives_the_rewards_of_one_in_process(url):
    given = batch(*LINES[:2])
    reward = GroupReward(server=url, num_generations=4)
    assert reward(**given) == pytest.approx(make()(**given), abs=5e-5)


def test_a_completion_that_the_server_cannot_score_costs_one_row(url, caplog):
    given = batch(LINES[0])
    given["completions"][2] = [{"role": "assistant", "content": "half \ud83d"}]
    rewards = GroupReward(server=url, num_generations=4)(**given)
    assert [reward is None for reward in rewards] == [False, False, True, False]
    assert "surrogate" in caplog.text


def test_a_connection_that_was_hung_up_is_made_again(url):
    reward = GroupReward(server=url, num_generations=4)
    expected = reward(**batch(LINES[0]))
    reward.load().close()
    assert reward(**batch(LINES[0])) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"mode": "single"}, "mode is 'single', and the server's judge has 'multi'"),
        ({"orders": 4}, "orders is 4, and the server's judge has 1"),
        ({"model": "another"}, "the server has 'demo', not 'another'"),
        ({"dtype": "float32"}, "dtype is the server's to decide"),
    ],
)
def test_a_server_with_another_judge_is_refused(url, options, problem):
    with pytest.raises(UsageError, match=problem):
        GroupReward(server=url, **options)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_a_connection_of_its_own(url):
    """Two processes on one connection would get each other's answers."""
    reward = GroupReward(server=url, num_generations=4)
    ours = reward.load()
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 has one about forking
        child = context.Process(target=lambda: sender.send(loaded_judge(reward) is ours))
        child.start()
    assert receiver.poll(30)
    assert receiver.recv() is False
    child.join()
    assert reward.load() is ours


def test_a_server_that_is_not_there_is_said_at_once():
    with pytest.raises(ServerError, match=r"127\.0\.0\.1:9"):
        GroupReward(server="http://127.0.0.1:9")


def test_what_trainers_import_for_it_needs_no_transformers():
    code = (
        "import sys, yoj_cli.rewards.verl, yoj_cli.rewards.ms_swift, yoj_cli.rewards.slime; "
        "print([name for name in ('transformers', 'peft', 'accelerate', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
