"""Measure everything, and write docs/performance.md with docs/performance.json beside it.

    python -m bench [--quick] [--only NAME …] [--to FOLDER] [--page]

About 20 minutes on a machine that does nothing else; as root, with Postfix installed. With --quick
the runs are short, to see that all of them work: the page is printed unless --to says where to
write it. The files are written after each section. With --only the other sections keep what is in
them; with --page nothing is measured.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench.command import DISK, as_text, stop_in_order
from bench.machine import facts
from bench.page import page
from bench.report import Measured, Report, read, write
from bench.results import Finding, gathered
from bench.sections import SECTIONS, Section

DOCS = Path(__file__).parents[1] / "docs"
PAGE, DATA = "performance.md", "performance.json"
NAMES = [section.name for section in SECTIONS]


def options_of(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="short runs, about 4 minutes")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    parser.add_argument("--to", type=Path, help="where the page and its data are written (docs)")
    parser.add_argument("--page", action="store_true", help="make the page from its data again")
    parser.add_argument("--folder", type=Path, default=Path(DISK), help="the disk to use")
    return parser.parse_args(words)


def measure(section: Section, options: argparse.Namespace) -> Measured:
    """Run one section, telling on standard error what it finds."""
    words = section.words(is_quick=options.quick)
    tell(f"\n== {section.name}: python -m bench.{section.bench.name} {' '.join(words)}")
    folder = ("--folder", str(options.folder))
    began_at = time.monotonic()
    findings: list[Finding] = []
    for finding in section.bench.measure(section.bench.options([*words, *folder])):
        findings.append(finding)
        tell(as_text(finding))
    tell(f"{time.monotonic() - began_at:.0f} s")
    return Measured(datetime.now(UTC).date().isoformat(), options.quick, gathered(findings))


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure_all(report: Report, options: argparse.Namespace) -> Iterator[Report]:
    """Yield the report after each section that was asked for."""
    report = replace(report, machine=facts(options.folder))
    for section in SECTIONS:
        if section.name in options.only:
            report.sections[section.name] = measure(section, options)
            yield report


def keep(folder: Path, report: Report) -> None:
    folder.mkdir(exist_ok=True)
    write(folder / DATA, report)
    # Of what was written: figures are rounded on their way there.
    (folder / PAGE).write_text(page(read(folder / DATA)))


def main() -> None:
    options = options_of(sys.argv[1:])
    stop_in_order()
    if options.page:
        keep(options.to or DOCS, read((options.to or DOCS) / DATA))
    elif options.quick and options.to is None:
        print(page(list(measure_all(Report({}), options))[-1]))
    else:
        folder = options.to or DOCS
        for report in measure_all(read(folder / DATA), options):
            keep(folder, report)


if __name__ == "__main__":
    main()
