"""Each question, asked to the local stack, has the answer that the pipeline relies on.

`python tests/azure/ask.py` asks a real account the same questions.
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

from bench import Question, ask, load_questions
from local_azure.testing import LocalStack
from tasks.azure.settings import Environment, using_accounts
from tasks.parameters import Cleanup, Pool

ASK = Path(__file__).with_name("ask.py")
ALL = load_questions()


@pytest.fixture(scope="module")
def answers(stack: LocalStack) -> dict[str, str]:
    """Return the local stack's answers to all questions, by name."""
    with using_accounts(Environment.model_validate(stack.settings)):
        return asyncio.run(ask(ALL, Pool(spot_nodes=0, dedicated_nodes=1, slots_per_node=8)))


@pytest.mark.parametrize("question", ALL, ids=[question.name for question in ALL])
def test_the_local_service_gives_the_answer_that_the_pipeline_relies_on(
    question: Question, answers: dict[str, str]
) -> None:
    assert question.text.endswith("?")
    assert answers[question.name] == question.wanted


def test_the_page_says_what_another_answer_to_each_question_would_change() -> None:
    page = ASK.with_name("README.md").read_text()
    rows = re.findall(r"^\| \[`(\w+)`\]\(questions/(\w+)\.py\) \| \S.+\. \|$", page, re.MULTILINE)
    assert [name for name, _ in rows] == sorted(question.name for question in ALL)
    assert all(name == file for name, file in rows)


def test_the_command_shows_both_answers_and_compares_them(
    account: dict[str, str], tmp_path: Path
) -> None:
    """The session's stack takes the place of Azure. The command sees no difference."""
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


def test_questions_leave_nothing_behind(
    batch: BatchClient, blobs: BlobServiceClient, answers: dict[str, str]
) -> None:
    assert answers
    active = [p.id for p in batch.list_pools() if p.state == models.BatchPoolState.ACTIVE]
    active += [j.id for j in batch.list_jobs() if j.state != models.BatchJobState.DELETING]
    assert [name for name in active if name.startswith(("questions-", "job-"))] == []
    names = blobs.get_container_client(Cleanup().container).list_blob_names()
    assert [name for name in names if re.search("/(resource|folder|blob)-", name)] == []


def test_the_answer_is_the_resize_error_if_the_pool_gets_no_node(
    account: dict[str, str], order: Callable[..., None]
) -> None:
    order("resize", code="AccountSpotCoreQuotaReached", pool="questions-*")
    [question] = load_questions(["task_counts"])
    with using_accounts(Environment.model_validate(account)):
        answers = asyncio.run(ask([question], Pool(spot_nodes=1, slots_per_node=8)))
    assert answers == {"task_counts": "no node: AccountSpotCoreQuotaReached"}
