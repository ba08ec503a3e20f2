"""The picture of a run in a browser: small and large, light and dark, with pointer and keyboard."""

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Locator, expect
from records import NOW, ONE, a_ledger, a_plan, a_source, proof_of
from runs import a_big_report, a_mixed_report, picture_of

from browser import DESKTOP, Window, open_window
from tasks.models import Refusal
from tasks.results.run_report import build_report

pytestmark = pytest.mark.asyncio(loop_scope="session")
PHONE = (390, 844)
LOAD_SECONDS = 20  # for 100,000 files on a busy machine; 10,000 files take about one


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a picture of five files on two nodes."""
    path = tmp_path_factory.mktemp("picture") / "few.html"
    path.write_bytes(picture_of(a_big_report(files=5, nodes=2, slots=2)))
    return path


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a picture of 10,000 files on eight nodes, with failures and hostile names."""
    path = tmp_path_factory.mktemp("picture") / "many.html"
    path.write_bytes(picture_of(a_big_report(files=10_000)))
    return path


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a picture of one node, with a file in each state."""
    path = tmp_path_factory.mktemp("picture") / "mixed.html"
    path.write_bytes(picture_of(a_mixed_report()))
    return path


async def show(window: Window, path: Path) -> float:
    """Open the picture, and return the seconds until it is drawn."""
    started = time.monotonic()
    await window.page.goto(path.as_uri())
    await window.page.locator("html[data-ready]").wait_for()
    return time.monotonic() - started


def check_silent(window: Window) -> None:
    assert window.requests == []
    assert window.problems == []


@pytest.mark.parametrize("files", ["few", "many"])
@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_it_opens_without_requests_and_without_errors(
    browser: Browser,
    request: pytest.FixtureRequest,
    files: str,
    is_dark: bool,  # noqa: FBT001  parametrized
    size: tuple[int, int],
) -> None:
    async with open_window(browser, is_dark=is_dark, size=size) as window:
        seconds = await show(window, request.getfixturevalue(files))
        assert seconds < LOAD_SECONDS
        paper = await window.page.evaluate("getComputedStyle(document.documentElement).background")
        assert ("rgb(15, 20, 25)" if is_dark else "rgb(255, 255, 255)") in paper
        width = await window.page.evaluate("document.documentElement.scrollWidth")
        assert width <= size[0]
        name = "-".join(request.node.callspec.id.split("-"))
        await window.take_screenshot(f"picture-{name}", is_whole=files == "few")
        check_silent(window)


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
async def test_it_is_accessible_without_sight(
    browser: Browser,
    few: Path,
    is_dark: bool,  # noqa: FBT001  parametrized
) -> None:
    async with open_window(browser, is_dark=is_dark) as window:
        await show(window, few)
        found = await Axe().run(window.page)
        assert found.violations_count == 0, found.generate_report()
        image = window.page.get_by_role("img")
        assert re.search(r"\d converted", await image.aria_snapshot())


async def test_hostile_names_are_shown_as_text(window: Window, many: Path) -> None:
    await show(window, many)
    await window.page.get_by_label("Search").fill("pwned")
    rows = window.page.locator("#files tbody tr")
    await expect(rows).to_have_count(2)
    text = " ".join(await rows.all_inner_texts())
    assert "<script>document.title='pwned'</script>.mp4" in text
    assert "<img src=x onerror=" in text
    assert await window.page.locator("img[src]").count() == 0
    assert "pwned" not in await window.page.title()
    await window.page.get_by_label("Search").fill("right")
    await expect(rows.first).to_contain_text("right\\u202eto left")
    hidden = "\x1b\n\x9b\u061c\u200f\u2066\u2028\ufeff\udcff"
    shown = await window.page.evaluate(f"printable({json.dumps(hidden)})")
    assert shown == "".join(f"\\u{ord(char):04x}" for char in hidden)
    check_silent(window)


async def test_the_table_of_files_searches_filters_sorts_and_turns_pages(
    window: Window, many: Path
) -> None:
    await show(window, many)
    page = window.page
    rows, where = page.locator("#files tbody tr"), page.locator("#files-pager [role=status]")
    await expect(where).to_have_text("1\u2013100 of 10,001")
    await page.locator("#files-pager").get_by_text("Next").click()
    await expect(where).to_have_text("101\u2013200 of 10,001")
    await page.get_by_label("Search").fill("TALK 00042")
    await expect(where).to_have_text("1\u20131 of 1 found among 10,001")
    await page.get_by_label("Search").fill("")
    await page.get_by_label("State").select_option("failed")
    await expect(where).to_have_text("1\u201349 of 49 found among 10,001")
    await expect(rows.filter(has_text="53.06 s of 120.07 s were converted")).to_have_count(48)
    await page.get_by_label("State").select_option("")
    duration = page.locator("#files").get_by_role("columnheader", name="Duration")
    for order in ("ascending", "descending"):
        await duration.get_by_role("button").click()
        await expect(duration).to_have_attribute("aria-sort", order)
    seconds = [
        float(text.split()[0]) for text in await rows.locator("td:nth-child(3)").all_inner_texts()
    ]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[0] > seconds[-1]
    await page.get_by_label("Search").fill("there is no such file")
    await expect(where).to_have_text("Nothing found.")


async def test_pointing_at_a_bar_shows_its_file_without_moving_the_page(
    window: Window, few: Path
) -> None:
    await show(window, few)
    canvas, details = window.page.locator("#canvas"), window.page.locator("#details")
    box = await canvas.bounding_box()
    table = await window.page.locator("#files").bounding_box()
    assert box
    shown = set()
    for x in range(int(box["width"] * 0.2), int(box["width"]), 12):
        await canvas.hover(position={"x": x, "y": box["height"] - 30})
        shown.add((await details.inner_text()).partition("\n")[0])
    assert {"Boot", "Start task", "Idle"} < shown
    assert any(name.endswith("a talk.mp4") for name in shown)
    assert await window.page.locator("#files").bounding_box() == table
    await window.take_screenshot("picture-hover")


async def test_arrow_keys_move_in_the_timeline_and_enter_finds_the_file(
    window: Window, many: Path
) -> None:
    await show(window, many)
    page, details = window.page, window.page.locator("#details")
    await page.locator("#scroller").focus()
    await page.keyboard.press("ArrowRight")
    await expect(details).to_contain_text("plan")
    for _ in range(3):
        await page.keyboard.press("ArrowDown")
    await page.keyboard.press("ArrowRight")
    await expect(details).to_contain_text(re.compile(r"slot \d"))
    first = await details.inner_text()
    await page.keyboard.press("ArrowRight")
    await expect(details).not_to_have_text(first)
    name = (await details.inner_text()).partition("\n")[0]
    await page.keyboard.press("Enter")
    row = page.locator("#files tr.found")
    await expect(row).to_be_in_viewport()
    await expect(row).to_contain_text(name)
    check_silent(window)


async def test_buttons_and_keys_zoom_the_timeline(window: Window, many: Path) -> None:
    await show(window, many)
    page = window.page
    sizer = page.locator("#sizer")
    whole = await sizer.evaluate("it => it.offsetWidth")
    await page.get_by_role("button", name="Zoom in").click()
    await page.locator("#scroller").press("+")
    assert await sizer.evaluate("it => it.offsetWidth") > 3 * whole
    await window.take_screenshot("picture-zoom")
    await page.get_by_role("button", name="Whole run").click()
    assert await sizer.evaluate("it => it.offsetWidth") == whole


async def test_the_critical_path_is_listed_in_words(window: Window, few: Path) -> None:
    await show(window, few)
    steps = await window.page.locator("#path li .name").all_inner_texts()
    assert steps[0] == "plan"
    assert any(step.startswith("start task on ") for step in steps)
    assert any(step.endswith(("slot 1", "slot 2")) for step in steps)
    assert steps[-1] == "download"


async def test_a_file_has_the_fill_of_its_result_in_the_timeline_the_path_and_the_table(
    window: Window, mixed: Path
) -> None:
    await show(window, mixed)
    fills = await window.page.evaluate(
        "Object.fromEntries(barsBySlot().flat(2)"
        ".map((bar) => [data.files.source[bar.file], bar.fill]))"
    )
    assert fills == {
        "whole.mp4": "converted",
        "copied.mp4": "copied",
        "gap.mp4": "warned",
        "broken.mp4": "failed",
        "replaced.mp4": "failed",  # its batch task succeeded
        "stopped.mp4": "interrupted",  # Batch counts its task as failed
        "running.mp4": "interrupted",
    }
    for name, fill in fills.items():
        mark = window.page.get_by_role("row", name=name).locator(".state")
        await expect(mark).to_have_class(f"state {fill}")
    path = window.page.locator("#path li")
    for name in ("copied.mp4", "broken.mp4", "stopped.mp4"):
        step = path.filter(has_text=name).locator(".share")
        await expect(step).to_have_class(f"share {fills[name]}")
    step, mark = path.filter(has_text="broken.mp4"), window.page.locator(".state.failed").first
    assert await colours(step.locator(".share")) == await colours(mark, "::before")
    await expect(step).to_contain_text("failed")
    await window.take_screenshot("picture-mixed", is_whole=True)
    check_silent(window)


async def colours(part: Locator, pseudo: str | None = None) -> tuple[str, str]:
    style = "(it, pseudo) => { const s = getComputedStyle(it, pseudo);"
    style += " return [s.backgroundColor, s.backgroundImage]; }"
    colour, pattern = await part.evaluate(style, pseudo)
    return colour, pattern


async def test_copied_files_and_warnings_are_counted_explained_and_found(
    window: Window, mixed: Path
) -> None:
    await show(window, mixed)
    page, rows = window.page, window.page.locator("#files tbody tr")
    for text in ("copied", "with a warning"):
        await expect(page.locator("#figures")).to_contain_text(f"1 {text}")
        await expect(page.locator("#legend")).to_contain_text(text)
    await page.get_by_label("State").select_option("copied")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("copied.mp3 (copied)")
    await page.get_by_label("State").select_option("with a warning")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("gap.mp3 (warning: The source has no sound.)")
    details = page.locator("#details")
    await page.locator("#scroller").focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowRight"):
        await page.keyboard.press(key)
    await expect(details).to_contain_text("gap.mp4")
    await expect(details).to_contain_text("The source has no sound.")


async def test_a_long_reason_leaves_the_names_of_files_their_width(
    window: Window, tmp_path: Path
) -> None:
    name = "talks/2026-11-27 a talk about media.mp4"
    refused = Refusal(a_source(name), "it cannot be converted because of this: " + "reason " * 100)
    path = tmp_path / "long.html"
    path.write_bytes(picture_of(build_report(a_ledger(plan=a_plan(refused=(refused,))), now=NOW)))
    await show(window, path)
    cell = await window.page.get_by_role("rowheader", name=name).bounding_box()
    table = await window.page.locator("#files").bounding_box()
    assert cell
    assert table
    assert 0.22 < cell["width"] / table["width"] < 0.35


async def test_a_run_with_nothing_to_convert_shows_no_job_and_no_pool(
    window: Window, tmp_path: Path
) -> None:
    path = tmp_path / "done.html"
    path.write_bytes(picture_of(build_report(a_ledger(plan=a_plan(done=(ONE,))), now=NOW)))
    await show(window, path)
    notes = window.page.locator("#notes")
    await expect(notes).to_contain_text("Node time counts")
    assert not re.search(r"\bnull\b|\bpool\b", await notes.inner_text())
    check_silent(window)


async def test_an_output_is_shown_with_its_note(window: Window, tmp_path: Path) -> None:
    path = tmp_path / "noted.html"
    replaced = replace(ONE, existing="outdated")
    ledger = a_ledger(plan=a_plan(replaced), evidence=proof_of(replaced))
    path.write_bytes(picture_of(build_report(ledger, now=NOW)))
    await show(window, path)
    cell = window.page.get_by_role("cell", name="a.mp3 (it replaced an earlier output")
    await expect(cell).to_be_visible()
    check_silent(window)


@pytest.mark.slow  # it takes a minute
async def test_a_picture_of_100_000_files_opens(window: Window, tmp_path: Path) -> None:
    path = tmp_path / "most.html"
    path.write_bytes(picture_of(a_big_report(files=100_000, nodes=20, slots=4)))
    assert await show(window, path) < LOAD_SECONDS
    await window.page.get_by_label("Search").fill("talk 99990")
    where = window.page.locator("#files-pager [role=status]")
    await expect(where).to_have_text("1\u20131 of 1 found among 100,001")
    check_silent(window)
