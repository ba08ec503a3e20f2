"""The README and the pages in docs agree with the code."""

import re
from pathlib import Path

import pytest
from cyclopts import Parameter
from kept import KEPT
from pydantic import BaseModel

from tasks.azure.settings import Environment
from tasks.files import AllowedFolders
from tasks.media.presets import PRESETS
from tasks.models import FileResult
from tasks.parameters import Cleanup, Limits, Node, Output, Pool, Request, Run
from tasks.results.diagnosis import TABLE

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(DOCS.glob("*.md")), *sorted((ROOT / "deployments").glob("*/README.md"))]
LINKED = sorted({*PAGES, *(ROOT / "deployments" / "local").glob("*.md")})
MOST_LINES = 200
CODE_BLOCK = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
GROUPS = [
    ("", Output),
    ("", Run),
    ("pool.", Pool),
    ("node.", Node),
    ("limits.", Limits),
    ("cleanup.", Cleanup),
]


def prose(page: Path) -> str:
    """Return the text of a page without its blocks of code."""
    return CODE_BLOCK.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in words}


def section(page: Path, begin: str, end: str) -> str:
    text = page.read_text()
    assert begin in text
    assert end in text
    return text.partition(begin)[2].partition(end)[0]


def test_the_readme_has_at_most_200_lines() -> None:
    assert len(README.read_text().splitlines()) <= MOST_LINES


def test_the_readme_links_to_every_page() -> None:
    links = re.findall(r"\]\(([^)#]+)", README.read_text())
    pages = {page.relative_to(ROOT).as_posix() for page in PAGES if page != README}
    assert pages <= set(links)


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_resolves(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_row_of_a_table_has_as_many_cells_as_its_head(page: Path) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", prose(page), re.MULTILINE):
        rows = [re.findall(r"(?<!\\)\|", re.sub(r"`[^`]*`", "", row)) for row in table.splitlines()]
        assert {len(row) for row in rows} == {len(rows[0])}, table.partition("\n")[0]


def shown(default: object) -> str:
    if isinstance(default, list):
        return ", ".join(f"`{each}`" for each in default)
    return "" if default == "" or default is False else f"`{default}`"


@pytest.mark.parametrize(("prefix", "model"), GROUPS)
def test_the_page_on_usage_has_a_row_for_every_parameter(
    prefix: str, model: type[BaseModel]
) -> None:
    page = (DOCS / "usage.md").read_text()
    for name, field in model.model_fields.items():
        own = [m.name[0] for m in field.metadata if isinstance(m, Parameter) and m.name]
        flag = own[0] if own else f"--{prefix}{(field.alias or name).replace('_', '-')}"
        assert f"| `{flag}` | {shown(field.default)} | {field.description} |" in page


def test_every_group_of_parameters_is_compared_with_the_page() -> None:
    groups = {field.annotation for field in Request.model_fields.values()} - {list[str]}
    assert groups == {model for _, model in GROUPS}


def test_the_page_on_usage_has_a_row_for_every_preset() -> None:
    table = section(DOCS / "usage.md", "## Presets", "\n## ")
    firsts = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    assert re.findall(r"`([\w-]+)`", " ".join(firsts)) == list(PRESETS)


def test_the_table_of_presets_states_what_the_matrix_test_verifies() -> None:
    table = section(DOCS / "usage.md", "## Presets", "\n## ")
    lines = [line.strip("|").split("|") for line in re.findall(r"^\|.*\|$", table, re.MULTILINE)]
    head, _, *rows = [[cell.strip() for cell in line] for line in lines]
    stated = {
        name: dict(zip(head[2:], cells[2:], strict=True))
        for cells in rows
        for name in re.findall(r"`([\w-]+)`", cells[0])
    }
    assert stated == {name: kept.cells for name, kept in KEPT.items()}


def test_the_page_on_troubleshooting_explains_every_diagnosis_code() -> None:
    codes = section(
        DOCS / "troubleshooting.md", "<!-- diagnosis codes -->", "<!-- end of diagnosis codes -->"
    )
    assert set(re.findall(r"`([A-Z]\w+)`", codes)) == {row.code for row in TABLE}


def test_the_page_on_azure_names_every_setting() -> None:
    page = (DOCS / "azure.md").read_text()
    for field in (*Environment.model_fields.values(), *AllowedFolders.model_fields.values()):
        assert f"| `{field.validation_alias}` |" in page


def test_the_page_on_the_report_names_every_field_of_a_file() -> None:
    page = (DOCS / "report.md").read_text()
    assert {name for name in FileResult.__dataclass_fields__ if f"`{name}`" not in page} == set()
