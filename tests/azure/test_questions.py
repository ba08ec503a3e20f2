"""Each question, put to the local stack: what it answers is what the pipeline relies on.

Against a real account the same files are asked by `python tests/azure/ask.py`.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from azure.batch import BatchClient, models
from azure.storage.blob import BlobServiceClient

from bench import Question, ask, load_module, load_questions
from stacks import LocalStack
from tasks.azure.settings import Environment, using_accounts
from tasks.parameters import Cleanup, Pool

ASK = Path(__file__).with_name("ask.py")
order = load_module(Path(__file__).parents[1] / "flows" / "conftest.py").order
ALL = load_questions()


@pytest.fixture(scope="module")
def answers(stack: LocalStack) -> dict[str, str]:
    """The local stack's answers to all of them, by name."""
    with using_accounts(Environment.model_validate(stack.settings)):
        return asyncio.run(ask(ALL, Pool(spot_nodes=0, dedicated_nodes=1, slots_per_node=8)))


@pytest.mark.parametrize("question", ALL, ids=[question.name for question in ALL])
def test_the_local_service_answers_what_the_pipeline_relies_on(
    question: Question, answers: dict[str, str]
) -> None:
    assert question.text.endswith("?")
    assert answers[question.name] == question.wanted


def test_the_command_shows_both_answers_and_whether_they_are_the_same(
    account: dict[str, str], tmp_path: Path
) -> None:
    """The session's stack stands for Azure: the command cannot tell."""
    saved = tmp_path / "answers.json"
    words = ["short_wall_clock", "environment_empty", "--save", str(saved)]
    ended = subprocess.run(
        [sys.executable, ASK, *words],
        env=os.environ | account,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert f"Asking {account['AZURE_BATCH_ENDPOINT']}" in ended.stderr
    assert ended.stdout.count("yes") == 2
    assert "2 of 2 answers are the same." in ended.stdout
    answers = json.loads(saved.read_text())
    assert [answer["question"] for answer in answers] == ["environment_empty", "short_wall_clock"]
    assert all(answer["local"] == answer["azure"] for answer in answers)


def test_a_question_leaves_nothing_behind(
    batch: BatchClient, blobs: BlobServiceClient, answers: dict[str, str]
) -> None:
    assert answers
    living = [p.id for p in batch.list_pools() if p.state == models.BatchPoolState.ACTIVE]
    living += [j.id for j in batch.list_jobs() if j.state != models.BatchJobState.DELETING]
    assert [name for name in living if name.startswith(("questions-", "job-"))] == []
    names = blobs.get_container_client(Cleanup().container).list_blob_names()
    assert [name for name in names if re.search("/(resource|folder|blob)-", name)] == []


def test_a_pool_that_gets_no_node_is_told_as_the_answer(
    account: dict[str, str], order: Callable[..., None]
) -> None:
    order("resize", code="AccountSpotCoreQuotaReached", pool="questions-*")
    [question] = load_questions(["task_counts"])
    with using_accounts(Environment.model_validate(account)):
        said = asyncio.run(ask([question], Pool(spot_nodes=1, slots_per_node=8)))
    assert said == {"task_counts": "no node: AccountSpotCoreQuotaReached"}
