"""A caller starts one process a mail: what is imported is waited for."""

import subprocess
import sys

import pytest

WAYS = ("cli.sendmail.program", "cli.sendmail.by_smtp", "cli.sendmail.by_socket")
CODE = """
import sys, importlib
before = set(sys.modules)
importlib.import_module(sys.argv[1])
print(*{name.partition(".")[0] for name in set(sys.modules) - before})
"""
OURS = {"cli", "relay", "admin_api"}


@pytest.mark.parametrize("module", WAYS)
def test_only_the_standard_library_is_imported(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, module], capture_output=True, text=True, check=True
    )
    foreign = set(done.stdout.split()) - OURS - sys.stdlib_module_names
    assert not {name for name in foreign if not name.startswith("_")}
    assert not {"asyncio", "dataclasses", "inspect"} & set(done.stdout.split())
