"""The report page on made-up results: does it open offline, quickly, small and without complaints?

`python -m benchmarks.report --json OUT`
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from benchmarks.browser import console_errors, missing_browser, open_browser, ready_ms, requests_of
from benchmarks.figures import Figure, parse_json_flag, report
from benchmarks.synthetic_results import World, fabricate
from pipeline.report.page import make_report

# As many groups, clips and experiments as preset demo has.
DEMO = World(seeds=(0,), groups=19, test_groups=6, clips=3)


def main() -> None:
    """Build the page, open it in a browser if there is one, and print the figures."""
    arguments = parse_json_flag(str(__doc__))
    with tempfile.TemporaryDirectory() as folder:
        results = fabricate(Path(folder) / "demo", DEMO)
        start = time.perf_counter()
        make_report(results, results / "report")
        build_s = time.perf_counter() - start
        page = results / "report" / "index.html"
        figures = [
            Figure("report: build", build_s, "s", 30.0, "lower"),
            Figure("report: page", page.stat().st_size / 1e6, "MB", 3.0, "lower"),
        ]
        reason = missing_browser()
        if reason:
            print(f"not measured in a browser: {reason}", file=sys.stderr)
        else:
            figures += _in_browser(page)
    report(figures, arguments.json)


def _in_browser(page: Path) -> list[Figure]:
    with open_browser() as browser:
        milliseconds = ready_ms(browser, page)
        figures_live = browser.execute_async_script(HYDRATE_ALL)
        return [
            Figure("report: ready", milliseconds, "ms", 1000.0, "lower"),
            Figure("report: external requests", len(requests_of(browser, page)), "count", 0, "lower"),
            Figure("report: console errors", len(console_errors(browser)), "count", 0, "lower"),
            Figure("report: figures that came alive", figures_live, "share", 1.0, "higher"),
        ]


HYDRATE_ALL = """
const done = arguments[arguments.length - 1];
const plots = [...document.querySelectorAll(".plot")];
plots.forEach((plot) => plot.dispatchEvent(new Event("pointerenter")));
const live = () => plots.filter((plot) => plot.dataset.live === "yes").length / plots.length;
const settled = () => plots.every((plot) => plot.dataset.live && plot.dataset.live !== "loading");
const wait = () => (settled() ? done(live()) : setTimeout(wait, 20));
wait();
"""


if __name__ == "__main__":
    main()
