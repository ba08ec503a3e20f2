"""Ask the local Batch service and a real Batch account the same questions, and compare the answers.

    python tests/azure/ask.py [NAME]... [--dedicated] [--vm-size SIZE] [--save FILE.json]

COST: one node (Standard_D2ds_v5, Spot unless --dedicated) for about ten minutes, and for 25 minutes
at most. The pool's own formula removes the node at its first evaluation after 20 minutes, even if
this command is killed. The most that you pay is 0.42 of the price of an hour of that size in your
region, and less than 1 GB of storage, which is deleted at the end. Prices differ by region and day.

The account is the one that the pipeline uses: see deployments/azure/README.md. Without an account,
only the local Batch service is asked.

Exit status: 0 if all answers are the same, 1 if answers differ or one is missing, 2 for an unknown
question, 130 after Ctrl-C.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench import Question, ask, load_questions
from local_azure.stack import running_stack
from tasks.azure.settings import Environment, load_accounts, using_accounts
from tasks.parameters import Pool


def pool_for(*, is_dedicated: bool, vm_size: str) -> Pool:
    """Return a pool of one node, with the most slots that two cores may have.

    Questions mostly wait, so they run in parallel.
    """
    spot, dedicated = (0, 1) if is_dedicated else (1, 0)
    return Pool(vm_size=vm_size, spot_nodes=spot, dedicated_nodes=dedicated, slots_per_node=8)


def ask_local(questions: Sequence[Question]) -> dict[str, str]:
    """Start the local stack and return its answers."""
    pool = pool_for(is_dedicated=True, vm_size=Pool().vm_size)
    with (
        tempfile.TemporaryDirectory() as folder,
        running_stack(Path(folder)) as stack,
        using_accounts(Environment.model_validate(stack.wait())),
    ):
        return asyncio.run(ask(questions, pool))


def table(
    questions: Sequence[Question], local: Mapping[str, str], azure: Mapping[str, str]
) -> Table:
    rows = Table(show_lines=True)
    rows.add_column("question", ratio=4)
    for column in ("local", "Azure"):
        rows.add_column(column, ratio=3, overflow="fold")
    rows.add_column("same?", justify="center", min_width=5)
    for question in questions:
        here, there = local[question.name], azure.get(question.name, "not asked")
        same = "" if question.name not in azure else "yes" if here == there else "[bold]NO[/bold]"
        label = f"{escape(question.text)}\n[dim]{question.name}[/dim]"
        rows.add_row(label, escape(here), escape(there), same)
    return rows


def parse(words: Sequence[str]) -> argparse.Namespace:
    description, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description,
        epilog=rest.partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="name of a file in questions/ (default: all)"
    )
    parser.add_argument(
        "--dedicated", action="store_true", help="use a dedicated node, not a Spot one"
    )
    parser.add_argument("--vm-size", default=Pool().vm_size, help="VM size of the node")
    parser.add_argument(
        "--save", type=Path, metavar="FILE.json", help="write all answers to this file"
    )
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    given = parse(words)
    questions = load_questions(given.names)
    if unknown := set(given.names) - {question.name for question in questions}:
        print(f"Unknown question: {', '.join(sorted(unknown))}.", file=sys.stderr)
        return 2
    print(f"Asking the local Batch service {len(questions)} questions …", file=sys.stderr)
    local = ask_local(questions)
    azure: dict[str, str] = {}
    if Environment().is_unset:
        print("No Azure account is configured, so Azure is not asked.", file=sys.stderr)
    else:
        endpoint = load_accounts().batch_endpoint
        print(f"Asking {endpoint}. The node takes some minutes to boot …", file=sys.stderr)
        azure = asyncio.run(
            ask(questions, pool_for(is_dedicated=given.dedicated, vm_size=given.vm_size))
        )
    Console().print(table(questions, local, azure))
    if given.save:
        answers = [
            {"question": q.name, "local": local[q.name], "azure": azure.get(q.name)}
            for q in questions
        ]
        given.save.write_text(json.dumps(answers, indent=2, ensure_ascii=False) + "\n")
    if not azure:
        return 0
    same = sum(azure[q.name] == local[q.name] for q in questions)
    print(f"{same} of {len(questions)} answers are the same.")
    return 0 if same == len(questions) else 1


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("Interrupted. The pool, the jobs and the blobs are deleted.", file=sys.stderr)
        raise SystemExit(130) from None
