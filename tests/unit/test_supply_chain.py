"""What we stand on: no version with a known fault, every file by its hash, an audit that is
honest.
"""

import importlib.util
import json
import tomllib
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "uv.lock").read_text()
PACKAGES = tomllib.loads(LOCK)["package"]

# The first versions without a fault that would be one of ours.
FLOORS = {
    "aioimaplib": "2.0.3",  # arguments with CR, LF and NUL are refused
    "aiosmtpd": "1.4.6",  # CVE-2024-27305 smuggling, CVE-2024-34083 STARTTLS injection
    "aiosmtplib": "5.1.3",  # commands injected by addresses, replies injected before TLS
    "aiosqlite": "0.22.1",
    "asyncpg": "0.21.0",  # CVE-2020-17446
    "httpx": "0.28.1",
    "httpcore": "1.0.9",  # the first to ask for an h11 without CVE-2025-43859
    "sanic": "25.12.1",  # CRLF in headers, smuggling by trailers of chunks
}
UNDERNEATH = {"h11": "0.16.0"}  # CVE-2025-43859


def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci/audit.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


AUDIT = audit()


@pytest.mark.parametrize("name", FLOORS)
def test_no_version_with_a_known_fault_can_be_installed_with_us(name: str) -> None:
    requirements = [Requirement(text) for text in PROJECT["dependencies"]]
    (ours,) = (each for each in requirements if each.name == name)
    floors = [Version(s.version) for s in ours.specifier if s.operator in (">=", "==")]
    assert floors
    assert max(floors) >= Version(FLOORS[name])


@pytest.mark.parametrize(("name", "floor"), [*FLOORS.items(), *UNDERNEATH.items()])
def test_what_is_pinned_and_what_is_installed_has_no_known_fault(name: str, floor: str) -> None:
    (pinned,) = (each["version"] for each in PACKAGES if each["name"] == name)
    assert Version(pinned) >= Version(floor)
    assert Version(version(name)) >= Version(floor)


def test_every_file_that_is_pinned_is_known_by_its_hash() -> None:
    for package in PACKAGES:
        files = [*package.get("wheels", ()), *filter(None, [package.get("sdist")])]
        is_ours = "registry" not in package["source"]
        assert is_ours or files, package["name"]
        assert all(file["hash"].startswith("sha256:") for file in files), package["name"]
    pinned = list(AUDIT.pinned(LOCK))
    assert len(pinned) == len(PACKAGES) - 1
    assert not any(line.startswith("pillarbox=") for line in pinned)


FOUND = {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
FINE = {"name": "b", "version": "1", "vulns": []}
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found on PyPI and could not be audited"}


def told(*answers: str, is_required: bool = False) -> tuple[int, str]:
    reports = {f"service {n}": AUDIT.read(answer) for n, answer in enumerate(answers)}
    code, lines = AUDIT.verdict(reports, is_required=is_required)
    return code, "\n".join(lines)


def report(*packages: object) -> str:
    return json.dumps({"dependencies": packages})


def test_an_audit_fails_by_what_is_vulnerable_and_says_what_it_did_not_see() -> None:
    assert told(report(FINE)) == (0, "1 packages audited by service 0")
    code, text = told(report(FINE, FOUND, UNKNOWN))
    assert code == 1
    assert "a 1: CVE-1, fixed in 2" in text
    assert "NOT AUDITED, service 0 does not know: c" in text
    assert told("", report(FOUND))[0] == 1


def test_an_audit_that_nobody_answered_is_not_called_one() -> None:
    for answers in (("", ""), (report(UNKNOWN), "no JSON"), (report(), "{}")):
        code, text = told(*answers)
        assert (code, text) == (0, "NOT AUDITED: neither service 0 nor service 1 could be asked")
        assert told(*answers, is_required=True)[0] == 1
