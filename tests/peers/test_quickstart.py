"""What the README and the quick start say is run as it stands, by a shell, against a real relay.

Blocks marked `console` are commands to paste; those marked `text` show what needs a server of the
reader's own. The ports in them are changed to free ones, nothing else.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import free_port
from tests.process import RUN
from tests.waiting import until

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"(?ms)^```console\n(.*?)^```$")
PROGRAM = f"""#!{sys.executable}
from cli.main import main
main()
"""


class Reader:
    """Somebody with an empty home folder who pastes what is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.smtp_port, self.http_port = free_port(), free_port()
        (folder / "bin").mkdir()
        program = folder / "bin" / "pillarbox"
        program.write_text(PROGRAM)
        program.chmod(0o755)
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PILLARBOX_", "GMP_"))}
        self.environment: Mapping[str, str] = {
            **clean,
            "HOME": str(folder),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PILLARBOX_SMTP_LISTEN": f"127.0.0.1:{self.smtp_port}",
            "PILLARBOX_HTTP_LISTEN": f"127.0.0.1:{self.http_port}",
            "PILLARBOX_DISPATCH_DRAIN_S": "5",
        }

    def paste(self, text: str) -> str:
        """Run commands as one shell session; return what they printed."""
        text = text.replace("127.0.0.1:2525", f"127.0.0.1:{self.smtp_port}")
        text = text.replace("127.0.0.1:8000", f"127.0.0.1:{self.http_port}")
        done = subprocess.run(
            ["bash", "-e", "-u", "-o", "pipefail", "-c", text],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Run `pillarbox serve`, as in a terminal of its own."""
        with (self.folder / "serve.log").open("ab") as log:
            process = subprocess.Popen(RUN, env=self.environment, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)

    async def is_ready(self) -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.get(f"http://127.0.0.1:{self.http_port}/ready")
                return answer.status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


def section(page: str, title: str) -> str:
    text = (ROOT / page).read_text()
    found = re.search(rf"(?ms)^## {title}$(.*?)(?=^##|\Z)", text)
    assert found, f"{page} has no section {title}"
    return found[1]


@pytest.mark.peers("curl")
def test_the_quick_start_is_true_from_the_first_line_to_the_last(reader: Reader) -> None:
    blocks = BLOCK.findall((ROOT / "docs/quickstart.md").read_text())
    try:
        said = [reader.paste(block) for block in blocks]
    finally:
        subprocess.run(
            [*RUN[:-1], "stop", "prod"], env=reader.environment, capture_output=True, check=False
        )
    assert "is running" in said[0]
    assert "Hello" in said[2]
    assert '"queued":1' in said[3].replace(" ", "")
    assert "sent" in said[4]


@pytest.mark.peers("curl", "swaks")
async def test_the_readme_can_be_used_as_it_says(reader: Reader) -> None:
    first, *blocks = BLOCK.findall(section("README.md", "Use it"))
    assert first.strip() == "pillarbox serve"
    script = "\n".join(blocks)
    # "The last answer shows the login's password, once."
    script = re.sub(r"(?m)^(api /credential .*)$", r"\1 | tee made.json", script)
    script = script.replace(
        "swaks ",
        f'PASSWORD=$({sys.executable} -c \'import json; print(json.load(open("made.json"))'
        '["password"])\')\nswaks ',
    )
    with reader.serving():
        await until(reader.is_ready, timeout_s=30, every_s=0.1)
        said = reader.paste(script)
    assert "250 2.0.0 Ok: queued as" in said
    assert '"queued":1' in said
    assert '"event":"accepted"' in said
