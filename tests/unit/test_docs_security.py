"""Each promise of the page on security is held by tests that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECTIONS = re.split(r"(?m)^## ", (ROOT / "docs/security.md").read_text())[1:]
PROMISES = [section for section in SECTIONS if section[0].isdigit()]
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
DIALOGUE = re.compile(r"`(tests/dialogues/\w+\.txt)`")


def test_the_promises_are_twenty_in_their_order() -> None:
    numbers = [int(section.partition(".")[0]) for section in PROMISES]
    assert numbers == list(range(1, 21))


@pytest.mark.parametrize("section", PROMISES, ids=lambda text: text.partition("\n")[0])
def test_every_promise_is_held_by_tests_that_exist(section: str) -> None:
    named = TEST.findall(section)
    dialogues = DIALOGUE.findall(section)
    assert len(named) + len(dialogues) == section.count("`tests/")
    assert len(named) + len(dialogues) >= 2
    assert [path for path in dialogues if not (ROOT / path).exists()] == []
    missing = [f"{path}::{name}" for path, name in named if not is_defined(path, name)]
    assert missing == []


def is_defined(path: str, name: str) -> bool:
    file = ROOT / path
    return file.exists() and f"def {name}(" in file.read_text()
