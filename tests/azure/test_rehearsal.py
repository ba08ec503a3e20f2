"""The suite for a real account, rehearsed: it must not rot where nobody has one."""

import os
import subprocess
import sys
from pathlib import Path

SUITE = Path(__file__).with_name("test_pipeline.py")
SAMPLE = "an_output_bears or leaves_nothing_behind"


def test_the_suite_for_a_real_account_passes_where_the_local_stack_stands_for_one(
    account: dict[str, str],
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--no-header", SUITE, "-k", SAMPLE],
        env=os.environ | account | {"ACCOUNTS": "azure", "NODES": "dedicated"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    assert "2 passed" in ended.stdout
