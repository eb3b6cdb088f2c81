"""What the SMTP server says to its clients is what the registries know.

The replies are found in the source of whatever can be heard through that door: texts that begin
with a reply code, and errors that are made with one.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import relay
from relay.errors import ContentRefused, OverQuota, Refused

# IANA, "Simple Mail Transfer Protocol (SMTP) Enhanced Status Codes Registry" (RFC 5248): the
# details of each subject, as of RFC 3463, 3886, 4865, 4954, 6531, 6710, 7293, 7372, 7504, 7505,
# 8689.
REGISTERED = {
    0: {0},
    1: set(range(11)),
    2: set(range(5)),
    3: set(range(7)),
    4: set(range(8)),
    5: set(range(7)),
    6: set(range(11)),
    7: set(range(31)),
}
# Not registered: Exchange's word for a bare line feed, which clients and people know.
KNOWN_TO_ALL = {"5.6.11"}
# RFC 2034 §4: the greeting and the answers to HELO and EHLO have none.
WITHOUT = re.compile(r"220 |250[- ](\Z|\{)")
REPLY = re.compile(r"([245])\d\d[- ]")
ENHANCED_REPLY = re.compile(r"(\d)\d\d (\d\.\d+\.\d+) \S")
ROOT = Path(relay.__file__).parent
HEARD = (
    *sorted(ROOT.glob("ingress/**/*.py")),
    *sorted(ROOT.glob("formats/headers/*.py")),
    ROOT / "errors.py",
    ROOT / "formats/address.py",
    ROOT / "attachments/offload/arrival.py",
    ROOT / "store/queue/accept.py",
    ROOT / "store/queue/once.py",
    ROOT / "store/queue/suppressed.py",
)
# What an error says where its maker does not.
DEFAULTS = {
    "Refused": Refused(""),
    "ContentRefused": ContentRefused(""),
    "OverQuota": OverQuota("", wait_s=0, enhanced="4.7.0"),
}

Codes = tuple[int, str]


def is_registered(enhanced: str) -> bool:
    _, subject, detail = map(int, enhanced.split("."))
    return detail in REGISTERED.get(subject, ()) or enhanced in KNOWN_TO_ALL


def sources() -> Iterator[tuple[Path, ast.AST]]:
    for path in HEARD:
        for node in ast.walk(ast.parse(path.read_text())):
            yield path, node


def texts() -> list[tuple[str, str]]:
    """Return (where, text) of each literal that is a reply; `{` stands for what is filled in."""
    found = []
    for path, node in sources():
        text = ""
        if isinstance(node, ast.JoinedStr):
            text = "".join(map(shown, node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        if REPLY.match(text) and not WITHOUT.match(text):
            found.append((f"{path.name}:{getattr(node, 'lineno', 0)}", text))
    return found


def shown(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else "{"


def errors() -> list[tuple[str, Codes]]:
    """Return (where, codes) of each error that a client would hear; what is left out is the
    default.
    """
    found = []
    for path, node in sources():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            default = DEFAULTS.get(node.func.id)
            if default is not None:
                found.append((f"{path.name}:{node.lineno}", codes(node, default)))
    return found


def codes(call: ast.Call, default: Refused) -> Codes:
    given = {k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)}
    code, enhanced = given.get("code", default.code), given.get("enhanced", default.enhanced)
    assert isinstance(code, int)
    assert isinstance(enhanced, str)
    return code, enhanced


def test_enough_is_found_to_be_looked_at() -> None:
    assert len(texts()) > 20
    assert len(errors()) > 25


@pytest.mark.parametrize(("where", "text"), texts())
def test_each_reply_has_an_enhanced_code_that_is_registered_and_of_its_class(
    where: str, text: str
) -> None:
    found = ENHANCED_REPLY.match(text)
    assert found is not None, f"{where}: {text} has no enhanced status code"
    assert found[2].startswith(f"{found[1]}."), f"{where}: {text} is of two classes"
    assert is_registered(found[2]), f"{where}: {found[2]} is not registered"


@pytest.mark.parametrize(("where", "codes"), errors())
def test_each_error_has_an_enhanced_code_that_is_registered_and_of_its_class(
    where: str, codes: Codes
) -> None:
    code, enhanced = codes
    assert enhanced.startswith(f"{code // 100}."), f"{where}: {codes} is of two classes"
    assert is_registered(enhanced), f"{where}: {enhanced} is not registered"
