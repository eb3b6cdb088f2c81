"""What the commands of this folder share: options, a folder to work in, results as they come."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.figures import head, row, verdict
from bench.results import Check, Finding, Head

DISK = "/var/tmp"
GOAL_TITLES = ("goal", "wanted", "measured", "reached")


@dataclass(frozen=True, slots=True)
class Bench:
    """A command: `add_options` declares what it takes, `measure` yields what it finds."""

    name: str
    doc: str
    add_options: Callable[[argparse.ArgumentParser], None]
    measure: Callable[[argparse.Namespace], Iterator[Finding]]

    def options(self, words: list[str]) -> argparse.Namespace:
        parser = argparse.ArgumentParser(
            prog=f"python -m bench.{self.name}",
            description=self.doc,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument("--folder", type=Path, default=Path(DISK), help="the disk to use")
        self.add_options(parser)
        return parser.parse_args(words)

    def main(self) -> None:
        """Run it by its own command."""
        options = self.options(sys.argv[1:])
        stop_in_order()
        goals_begun = False
        for finding in self.measure(options):
            if isinstance(finding, Check) and not goals_begun:
                goals_begun = True
                print(f"\n{head(GOAL_TITLES)}")
            print(as_text(finding), flush=True)


def as_text(finding: Finding) -> str:
    match finding:
        case Head(titles):
            return f"\n{head(titles)}"
        case Check():
            return verdict(finding)
        case _:
            return row(finding)


def stop_in_order() -> None:
    """Let SIGTERM unwind the stack, so that what was started is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


@contextmanager
def scratch_folder(options: argparse.Namespace) -> Iterator[Path]:
    """Make a folder on the disk that was named, which other users may enter."""
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def add_database(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
