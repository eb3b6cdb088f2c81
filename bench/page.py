"""docs/performance.md, made of a report: the machine, then each section with what was wanted."""

from collections.abc import Iterator

from bench.command import GOAL_TITLES
from bench.figures import head, line, row, verdict
from bench.report import Measured, Report
from bench.results import Table
from bench.sections import SECTIONS, Section

NOTICE = "<!-- Made by `python -m bench`: change bench/, not this page. -->"
INTRO = (
    "What one machine measured, by one command: `python -m bench`, from the source tree, as root, "
    "with Postfix installed; `bench/README.md` says how. Pillarbox runs with its defaults: SQLite, "
    "one process, every mail synced to the disk before it is acknowledged, each one logged, "
    "delivery events recorded.",
    "The load, the relay and the sink where mail ends share this machine, so figures are its own: "
    "compare those that stand side by side. Each is the median of the runs, with the least and the "
    "most in brackets. Beside it stands what we want of it, whether or not that is reached.",
)
QUICK = "**These runs were short, to see that everything runs: their figures mean little.**"


def page(report: Report) -> str:
    """Return the page; sections that were not measured are left out."""
    parts = [NOTICE, "# Performance", *INTRO, machine(report), *sections(report)]
    return "\n\n".join(parts) + "\n"


def machine(report: Report) -> str:
    """Return the table of the machine, with how many goals are reached."""
    checks = [check for each in report.sections.values() for check in each.results.checks]
    reached = sum(check.goal.is_reached(check.values) for check in checks)
    facts = [*report.machine.items(), ("goals reached", f"{reached} of {len(checks)}")]
    return "\n".join([head(("machine", "")), *(line(fact) for fact in facts)])


def sections(report: Report) -> Iterator[str]:
    for each in SECTIONS:
        measured = report.sections.get(each.name)
        if measured is not None:
            yield from section(each, measured)


def section(about: Section, measured: Measured) -> Iterator[str]:
    yield f"## {about.title}"
    yield about.about
    words = " ".join(about.words(is_quick=measured.is_quick))
    yield f"`python -m bench.{about.bench.name} {words}`, {measured.date}."
    if measured.is_quick:
        yield QUICK
    yield from (table(each) for each in measured.results.tables)
    if measured.results.checks:
        verdicts = [verdict(check) for check in measured.results.checks]
        yield "\n".join([head(GOAL_TITLES), *verdicts])
    yield f"**What limits it.** {about.limits}"


def table(found: Table) -> str:
    return "\n".join([head(found.titles), *(row(each) for each in found.rows)])
