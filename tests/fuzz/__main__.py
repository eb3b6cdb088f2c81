"""Look for octets that break a promise of a target, with atheris (`pip install -e '.[fuzz]'`).

    python -m tests.fuzz commands --seconds 60

What is found is written to the folder of the corpus, and ends the search with a traceback.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["relay", "tests.fuzz"]):
    from tests.fuzz.targets import TARGETS, Target

SLOWEST_S = 5


def search(target: Target, corpus: Path, seconds: int) -> None:
    for n, seed in enumerate(target.seeds):
        (corpus / f"seed{n}").write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={min(target.longest, 65_536)}",
        f"-timeout={SLOWEST_S}",
        f"-artifact_prefix={corpus}/",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.take)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, help="a folder to go on with; else a new one")
    options = parser.parse_args()
    corpus = options.corpus or Path(tempfile.mkdtemp(prefix="pillarbox-fuzz-"))
    corpus.mkdir(parents=True, exist_ok=True)
    search(TARGETS[options.target], corpus, options.seconds)


if __name__ == "__main__":
    main()
