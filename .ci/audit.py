#!/usr/bin/env python3
"""Ask PyPI, or else OSV, whether a package that uv.lock pins has a known vulnerability.

Ends with 1 where one has. Where nobody can be asked, or who answers knows none of the packages (a
mirror without that service says of each that it is not there), nothing was audited: that is said in
plain words and is no failure, unless `--require` is given.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LOCK = Path(__file__).parents[1] / "uv.lock"
SERVICES = ("pypi", "osv")
PIP_AUDIT = (sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--format", "json")
LONGEST_S = 300


@dataclass(frozen=True)
class Report:
    """What a service said: how many packages it knows, which it does not, what is wrong."""

    known: int
    unknown: tuple[str, ...]
    vulnerable: tuple[str, ...]


def pinned(lock: str) -> Iterator[str]:
    """Give `name==version` of each package that comes from an index."""
    for package in tomllib.loads(lock)["package"]:
        if "registry" in package["source"]:
            yield f"{package['name']}=={package['version']}"


def read(answer: str) -> Report | None:
    """Read pip-audit's report; None where there is none, because nobody could be asked."""
    try:
        packages = json.loads(answer)["dependencies"]
    except (ValueError, KeyError):
        return None
    unknown = tuple(p["name"] for p in packages if "skip_reason" in p)
    vulnerable = tuple(
        f"{p['name']} {p['version']}: {v['id']}, fixed in {', '.join(v['fix_versions']) or 'none'}"
        for p in packages
        for v in p.get("vulns", ())
    )
    return Report(len(packages) - len(unknown), unknown, vulnerable)


def ask(service: str, requirements: Path) -> Report | None:
    command = [*PIP_AUDIT, "--vulnerability-service", service, "--requirement", str(requirements)]
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            command, capture_output=True, text=True, timeout=LONGEST_S, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    return read(done.stdout)


def verdict(reports: dict[str, Report | None], *, is_required: bool) -> tuple[int, list[str]]:
    """Decide by the first service that knows anything; return the exit code and what to say."""
    for service, report in reports.items():
        if report and report.known:
            lines = [f"{report.known} packages audited by {service}", *report.vulnerable]
            if report.unknown:
                lines.append(f"NOT AUDITED, {service} does not know: {', '.join(report.unknown)}")
            return int(bool(report.vulnerable)), lines
    return int(is_required), [f"NOT AUDITED: neither {' nor '.join(reports)} could be asked"]


def main() -> int:
    reports: dict[str, Report | None] = {}
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.write("\n".join(pinned(LOCK.read_text())) + "\n")
        requirements.flush()
        for service in SERVICES:
            report = reports[service] = ask(service, Path(requirements.name))
            if report and report.known:
                break
    code, lines = verdict(reports, is_required="--require" in sys.argv[1:])
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
