"""What the pages name exists."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from admin_api.app import ROUTES
from relay.config import SETTINGS
from relay.config.settings import SECTIONS
from relay.metrics import Metrics

ROOT = Path(__file__).parents[2]
MADE = ROOT / "docs/reference"
WRITTEN = [
    "README.md",
    "ARCHITECTURE.md",
    "bench/README.md",
    *(str(p.relative_to(ROOT)) for p in sorted(ROOT.glob("docs/**/*.md")) if p.parent != MADE),
]
PATH = re.compile(r"`([\w./@-]+(?:\.py|\.toml|\.md|\.ya?ml|\.json|\.service|/))`")
VARIABLE = re.compile(r"\bPILLARBOX_[A-Z0-9_]+[A-Z0-9]\b")
KEY = re.compile(rf"`((?:{'|'.join(SECTIONS)})\.(?!py`)[a-z_0-9]+)`")
ROUTE = re.compile(r"`(GET|POST|PUT|DELETE) (/[\w/{}.-]*)`")
METRIC = re.compile(r"\bpillarbox_[a-z_]+")
# Of the reader's own machine, or a route.
THEIRS = ("/", "~")
OTHERS = {"PILLARBOX_HOME", "PILLARBOX_REQUIRE_PEERS"}


def text_of(page: str) -> str:
    return (ROOT / page).read_text()


@pytest.mark.parametrize("page", WRITTEN)
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    names = [name for name in PATH.findall(text_of(page)) if not name.startswith(THEIRS)]
    roots = [ROOT, ROOT / "relay", ROOT / "tests", ROOT / "tests/scenarios", ROOT / "bench"]
    roots += [ROOT / "relay" / folder for folder in ("dispatch", "store", "ingress", "formats")]
    roots += [ROOT / "conf"]
    missing = [n for n in names if not any((root / n).exists() for root in roots)]
    assert missing == []


@pytest.mark.parametrize("page", WRITTEN)
def test_every_setting_that_a_page_names_is_one(page: str) -> None:
    assert set(KEY.findall(text_of(page))) <= {setting.toml_key for setting in SETTINGS}


@pytest.mark.parametrize("page", WRITTEN)
def test_every_variable_that_a_page_names_is_read(page: str) -> None:
    named = {name for name in VARIABLE.findall(text_of(page)) if "_SENDMAIL_" not in name}
    assert named <= set(variables()) | OTHERS


def variables() -> Iterator[str]:
    for setting in SETTINGS:
        for name in setting.env_names:
            yield name
            if setting.is_secret:
                yield f"{name}_FILE"


@pytest.mark.parametrize("page", WRITTEN)
def test_every_route_that_a_page_names_is_served(page: str) -> None:
    served = {(route.method, re.sub(r"{\w+}", "{}", route.path)) for route in ROUTES}
    named = {(m, re.sub(r"{\w+}", "{}", path)) for m, path in ROUTE.findall(text_of(page))}
    assert named <= served | {("GET", "/openapi.json"), ("GET", "/docs")}


@pytest.mark.parametrize("page", WRITTEN)
def test_every_metric_that_a_page_names_is_counted(page: str) -> None:
    assert set(METRIC.findall(text_of(page))) <= {metric.name for metric in Metrics().describe()}


def test_readme_has_the_two_commands_of_a_fresh_machine() -> None:
    text = (ROOT / "README.md").read_text()
    assert "pip install . && pillarbox demo" in text
    assert "pip install -e '.[dev]' && pytest" in text
    assert "GPL-3.0" in text
