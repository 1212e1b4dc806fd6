"""The dashboard in a headless browser: it loads, filters, selects, compares, and runs nothing foreign."""

import os
import shutil
import threading
from pathlib import Path

import pytest

from taskbasis.dashboard.__main__ import main
from taskbasis.dashboard.server import serve

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed here")
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def open_page(browser):
    """Opens an address; after the test nothing may have been complained about or broken."""
    complaints, pages = [], []

    def go(address, viewport=DESKTOP, scheme="light"):
        page = browser.new_page(viewport=viewport, color_scheme=scheme)
        pages.append(page)
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        page.wait_for_selector("#table tbody tr")
        page.wait_for_selector("#overview .main-svg")
        return page

    yield go
    assert [page.evaluate("window.broken") for page in pages] == [None] * len(pages)
    assert complaints == []
    for page in pages:
        page.close()


@pytest.fixture(scope="module")
def report(runs, tmp_path_factory):
    path = tmp_path_factory.mktemp("browser") / "report.html"
    main([str(runs), "--out", str(path)])
    return path.as_uri()


def rows(page):
    return page.locator("#table tbody tr").count()


def expect_rows(page, count):
    playwright.expect(page.locator("#table tbody tr")).to_have_count(count)


def tick(page, name):
    page.locator("#table tbody tr", has_text=name).locator("td.select input").click()


def test_a_report_filters_selects_and_compares(open_page, report):
    page = open_page(report)
    assert "20 runs, 1 failed" in page.inner_text("#status")
    assert rows(page) == 20
    page.get_by_placeholder("filter").fill("exact-M4")
    expect_rows(page, 3)
    page.get_by_placeholder("filter").fill("-s1f0")
    expect_rows(page, 6)
    tick(page, "ae-M1-s1f0")
    tick(page, "exact-M2-s1f0")
    page.wait_for_selector("#matrices .main-svg")
    difference = page.inner_text("#difference")
    assert "basis\tae\texact" in difference
    assert "M\t1\t2" in difference
    assert "search.points" not in difference, "only what differs is shown"
    titles = page.locator("#comparison .gtitle").all_text_contents()
    assert titles[0] == "Merged model, task by task"
    assert len(titles) == 4
    if folder := os.environ.get("TASKBASIS_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / "dashboard.png", full_page=True)
    page.get_by_text("clear selection").click()
    assert page.locator("#compare").is_hidden()


def test_columns_sort_and_are_chosen(open_page, report):
    page = open_page(report)
    heading = page.locator("#table thead th", has_text="addition/test/normalized_top1")
    first = page.locator("#table tbody tr").first
    heading.locator(".dtcc-button_order").click()
    playwright.expect(first).to_contain_text("failed-run")
    heading.locator(".dtcc-button_order").click()
    playwright.expect(first).to_contain_text("M4-s2")
    page.get_by_role("button", name="columns").click()
    page.get_by_role("button", name="started").click()
    assert page.locator("#table thead th", has_text="started").is_visible()


def test_the_keyboard_reaches_filter_selection_and_figures(open_page, report):
    page = open_page(report)
    page.get_by_placeholder("filter").focus()
    page.keyboard.type("ae-M2-s0")
    expect_rows(page, 1)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('tbody td.select') !== null"):
            break
    page.keyboard.press("Space")
    page.wait_for_selector("#comparison .main-svg")
    assert page.locator("#x").evaluate("e => (e.focus(), document.activeElement === e)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_fits_the_screen_in_light_and_dark(open_page, report, viewport, scheme):
    page = open_page(report, viewport, scheme)
    tick(page, "ae-M1-s0")
    page.wait_for_selector("#matrices .main-svg")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= viewport["width"], "nothing sticks out: wide tables scroll in their own box"
    light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light == (scheme == "light")


def test_hostile_names_are_shown_as_text(open_page, report):
    page = open_page(report)
    page.get_by_placeholder("filter").fill("window.broken")
    expect_rows(page, 1)
    assert "<script>window.broken=1</script>" in page.inner_text("#table tbody tr")
    page.get_by_placeholder("filter").fill("")
    for name in ("window.broken", "failed-run", "ae-M1-s0"):
        tick(page, name)
    page.wait_for_selector("#matrices .main-svg")
    assert "<script>window.broken=1</script>" in page.inner_text("#difference")
    for choice in ("#y", "#x", "#series"):
        for option in page.locator(f"{choice} option").all():
            if "broken" in option.inner_text():
                page.select_option(choice, option.get_attribute("value"))
    page.locator("#overview").hover()
    page.get_by_role("button", name="columns").click()
    page.wait_for_timeout(300)
    assert page.locator("img").count() == 0


def test_a_served_page_shows_new_runs_and_keeps_the_selection(open_page, make_runs, tmp_path):
    folder = make_runs(tmp_path / "runs", methods=("ae",), seeds=1)
    server = serve([folder], "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        page = open_page(f"http://127.0.0.1:{server.server_port}/")
        before = rows(page)
        tick(page, "ae-M1-s0")
        page.wait_for_selector("#comparison .main-svg")
        shutil.copytree(folder / "run-1", folder / "run-new")
        expect_rows(page, before + 1)
        assert page.locator("#table tbody tr.selected").count() == 1
        link = page.locator("#table tbody a", has_text="ae-M1-s0").get_attribute("href")
        assert "result.json" in page.request.get(f"http://127.0.0.1:{server.server_port}{link}").text()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
