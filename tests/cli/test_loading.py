"""What a command loads: that is most of what its start takes."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.process import RUN, ServeProcess

TELLING = (sys.executable, "-X", "importtime", *RUN[1:3])
LOADED = re.compile(r"^import time:.*\| +(\S+)$", re.MULTILINE)
# Only who uses it should load it: another database, calls of others, mail that comes back, clouds.
OF_SOME_NODES = {
    "asyncpg",
    "flufl.bounce",
    "httpcore",
    "httpx",
    "obstore",
    "relay.attachments.offload.clouds",
    "relay.formats.bounce.read",
    "relay.formats.pec.read",
    "relay.net.wire",
    "relay.store.postgres",
    "rich",
    "tomlkit",
}
SERVER = {"pydantic", "sanic", "asyncio", "relay.app.node", "relay.config.tree", "httpx", "rich"}


def loaded(text: str) -> set[str]:
    return set(LOADED.findall(text))


def loaded_by(command: Sequence[str]) -> set[str]:
    return loaded(subprocess.run(command, capture_output=True, text=True, check=True).stderr)


async def test_a_plain_node_loads_nothing_that_only_others_need(tmp_path: Path) -> None:
    node = ServeProcess(tmp_path / "home", "")
    node.run = (*TELLING, "serve")
    async with node:
        found = loaded(node.log())
    assert "relay.app.node" in found
    assert not found & OF_SOME_NODES


@pytest.mark.parametrize("words", [["--help"], ["serve", "--help"]])
def test_help_loads_no_node(words: list[str]) -> None:
    found = loaded_by([*TELLING, *words])
    assert "cli.main" in found
    assert not found & SERVER
