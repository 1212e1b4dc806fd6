"""How fast the dashboard is with one run and with thousands: first table, first figure, filtering.

Needs chromium and playwright. The runs are copies of one reduced run, with other settings and numbers, over
14 tasks. Launch: python benchmarks/dashboard.py [--runs 2000] [--out benchmarks/results/dashboard.json]
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from taskbasis.config import compose
from taskbasis.dashboard.page import write_report
from taskbasis.run import run
from taskbasis.tracking.collection import Collection

TASKS = 14
FILTERS = ("pca", "M4", "s1f0", "ae-M2", "")
FILTERED = """text => new Promise(done => {
    const input = document.querySelector('input[type=search]'), begun = performance.now();
    input.value = text;
    input.dispatchEvent(new Event('input', { bubbles: true }));
    const check = () => document.querySelector('#table tbody tr') && done(performance.now() - begun);
    requestAnimationFrame(() => setTimeout(check));
})"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder = Path(name)
        original = one_result(folder / "original")
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        found["chromium"] = browser.version
        for count in (1, options.runs):
            copies(original, count, folder / str(count))
            found[str(count)] = measured(browser, folder / str(count), folder / f"{count}.html")
        browser.close()
    text = json.dumps(found, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


def one_result(folder: Path) -> dict[str, Any]:
    """A real result of a reduced run."""
    job = ["+smoke=true", "basis=exact", "M=1", "tracker=none", f"paths.root={folder}", "verbosity=quiet"]
    return run(compose(job))


def copies(original: dict[str, Any], count: int, folder: Path) -> None:
    """``count`` runs over 14 tasks with the numbers of ``original``, shaken."""
    random.seed(0)
    names = [f"task{t}" for t in range(TASKS)]
    for i in range(count):
        result = copy.deepcopy(original)
        method, M, seed = ("ae", "exact", "pca")[i % 3], (2, 4, 7)[i // 3 % 3], i // 9
        result["run"]["id"] = f"tiny-mini14-{method}-M{M}-s{seed}f0-{i:08x}"
        result["run"]["choices"]["basis"] = method
        result["config"] |= {"M": M, "seed": seed}
        result["tasks"] = names
        result["gram"]["cosines"] = [[random.random() for _ in names] for _ in names]
        result["basis"]["encoder"] = [[random.random() for _ in range(M)] for _ in names]

        def counts() -> dict[str, dict[str, int]]:
            return {name: {"correct": random.randint(100, 400), "n": 400} for name in names}

        result["single"] = {
            k: {n: {"val": c, "test": c} for n, c in counts().items()} for k in result["single"]
        }
        addition = result["protocols"]["addition"]
        addition |= {"test": counts(), "top1": random.random(), "normalized_top1": random.random()}
        addition["search"]["curve"] = [p | {"tasks": counts()} for p in addition["search"]["curve"]]
        (folder / f"run-{i}").mkdir(parents=True)
        (folder / f"run-{i}" / "result.json").write_text(json.dumps(result))


def measured(browser: Browser, folder: Path, report: Path) -> dict[str, float]:
    """Seconds to collect and write; megabytes; seconds to paint, table and figure; ms per filter."""
    begun = time.perf_counter()
    write_report(Collection([folder]), report)
    written = time.perf_counter() - begun
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    begun = time.perf_counter()
    page.goto(report.as_uri(), wait_until="commit")
    page.wait_for_selector("#table tbody tr")
    table = time.perf_counter() - begun
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    page.wait_for_selector("#overview .main-svg")
    figure = time.perf_counter() - begun
    filters = [page.evaluate(FILTERED, text) for text in FILTERS]
    page.wait_for_timeout(500)
    page.close()
    return {
        "write_s": round(written, 2),
        "megabytes": round(report.stat().st_size / 1e6, 1),
        "first_paint_s": round(paint / 1000, 2),
        "table_s": round(table, 2),
        "figure_s": round(figure, 2),
        "filter_median_ms": round(statistics.median(filters), 1),
        "filter_worst_ms": round(max(filters), 1),
    }


if __name__ == "__main__":
    main()
