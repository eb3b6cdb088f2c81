"""What the pages name exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "ARCHITECTURE.md",
    "docs/decisions.md",
    "docs/specifications.md",
    "bench/README.md",
]
PATH = re.compile(r"`([\w./-]+(?:\.py|\.toml|\.md|/))`")


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    names = PATH.findall((ROOT / page).read_text())
    roots = [ROOT, ROOT / "relay", ROOT / "tests", ROOT / "tests/scenarios", ROOT / "bench"]
    roots += [ROOT / "relay" / folder for folder in ("dispatch", "store", "ingress", "formats")]
    missing = [n for n in names if not any((root / n).exists() for root in roots)]
    assert missing == []


def test_readme_has_the_two_commands_of_a_fresh_machine() -> None:
    text = (ROOT / "README.md").read_text()
    assert "pip install . && pillarbox demo" in text
    assert "pip install -e '.[dev]' && pytest" in text
    assert "GPL-3.0" in text
