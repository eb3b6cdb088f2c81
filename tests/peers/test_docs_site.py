"""The documentation is built without a warning, and fetches nothing from anywhere."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FETCHED = re.compile(r"<(?:link|script|img)[^>]+(?:href|src)=\"(https?:[^\"]+)\"")


@pytest.mark.peers("mkdocs")
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    site = tmp_path / "site"
    done = subprocess.run(
        ["mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path: path.read_text() for path in site.glob("**/*.html")}
    assert len(pages) > 30
    assert {url for text in pages.values() for url in FETCHED.findall(text)} == set()
    assert not list(site.glob("**/*.py"))
    assert "def verify(" in re.sub(r"<[^>]+>", "", pages[site / "callbacks/index.html"])
