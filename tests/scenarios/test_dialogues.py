"""Each file in tests/dialogues is a conversation that a live SMTP server must lead to the letter.

    # Text after two blanks and a hash is a comment; so is a line that begins with one.
    setup: max_recipients=2     settings that differ (a field of SmtpSettings)
    port: starttls              starttls (AUTH only in TLS), tls (inside TLS); else AUTH in clear
    begin: login                the lines of begin/login.txt come first
    C: NOOP                     the client says a line; \\r \\n \\0 \\xHH \\\\ are octets
    R: half a li                the same without its CRLF
    ---                         what follows goes in a segment of its own
    S: 250 2.0.0 Ok             the server says exactly that; * is anything
    S: 250 ...                  the server says 250, in any number of lines
    C: STARTTLS handshake       the client begins TLS
    S: (closed)                 the server has closed the connection
    stored: 1                   so many mails are in the store at the end; 0 unless given
    content: one\\r\\n           the last of them, without what we put in front
    repairs: bare_lf            what was put right in the last of them, as its event says

Lines of the client that follow each other are one segment on the wire.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.scenarios.smtp_node import CA, SmtpNode, smtp_node

FOLDER = Path(__file__).parent.parent / "dialogues"
FILES = sorted(path.stem for path in FOLDER.glob("*.txt"))
WAIT_S = 10.0
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
HANDSHAKE = "STARTTLS handshake"
ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|(.))")
ADDED = re.compile(rb"(?:(?:Received|X-Pillarbox-ID|Date|Message-ID): [^\n]*\n(?:\t[^\n]*\n)*)+")
ESCAPED = {"r": b"\r", "n": b"\n", "0": b"\0", "t": b"\t", "\\": b"\\"}


@dataclass(frozen=True, slots=True)
class Step:
    kind: str
    text: str
    at: str


@dataclass(slots=True)
class Dialogue:
    setup: dict[str, Any] = field(default_factory=dict)
    port: str = "clear"
    stored: int = 0
    content: bytes | None = None
    repairs: list[str] | None = None
    steps: list[Step] = field(default_factory=list)


def read(name: str) -> Dialogue:
    dialogue = Dialogue()
    for kind, text, at in lines(FOLDER / f"{name}.txt"):
        if kind == "setup":
            dialogue.setup |= {key: number(value) for key, value in pairs(text)}
        elif kind == "begin":
            dialogue.steps += [Step(*line) for line in lines(FOLDER / "begin" / f"{text}.txt")]
        elif kind == "port":
            dialogue.port = text
        elif kind == "stored":
            dialogue.stored = int(text)
        elif kind == "content":
            dialogue.content = octets(text)
        elif kind == "repairs":
            dialogue.repairs = text.split()
        else:
            dialogue.steps.append(Step(kind, text, at))
    return dialogue


def lines(path: Path) -> Iterator[tuple[str, str, str]]:
    for n, raw in enumerate(path.read_text().splitlines(), 1):
        line = re.split(r"(?:^|  )\s*# ", raw)[0].rstrip()
        at = f"{path.name}:{n}"
        if line.startswith("---"):
            yield "break", "", at
        elif line and line != "#":
            kind, colon, text = line.partition(":")
            assert colon, f"{at}: {line!r} is no step"
            yield kind, text.removeprefix(" "), at


def pairs(text: str) -> Iterator[tuple[str, str]]:
    for word in text.split():
        key, _, value = word.partition("=")
        yield key, value


def number(text: str) -> float:
    return float(text) if "." in text else int(text)


def octets(text: str) -> bytes:
    parts: list[bytes] = []
    end = 0
    for found in ESCAPE.finditer(text):
        parts.append(text[end : found.start()].encode())
        parts.append(bytes.fromhex(found[1]) if found[1] else ESCAPED[found[2]])
        end = found.end()
    return b"".join(parts) + text[end:].encode()


def matches(pattern: str, said: str) -> bool:
    regex = ".*".join(re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(regex, said) is not None


class Client:
    """Leads one conversation."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._segment = b""

    async def take(self, step: Step) -> None:
        async with asyncio.timeout(WAIT_S):
            if step.kind == "C" and step.text == HANDSHAKE:
                await self._writer.start_tls(client_context(), server_hostname="127.0.0.1")
            elif step.kind in ("C", "R"):
                self._segment += octets(step.text) + (b"\r\n" if step.kind == "C" else b"")
            elif step.kind == "break":
                await self.send()
            else:
                assert step.kind == "S", f"{step.at}: {step.kind} is no step"
                await self.send()
                await self._expect(step)

    async def send(self) -> None:
        if self._segment:
            self._writer.write(self._segment)
            await self._writer.drain()
            # The other side runs on the same loop: let it read before the next segment.
            await asyncio.sleep(0)
        self._segment = b""

    async def _expect(self, step: Step) -> None:
        if step.text == "(closed)":
            assert await self._reader.read() == b"", step.at
            return
        said = await self._say()
        if step.text.endswith(" ..."):
            code = step.text[:3]
            while said.startswith(f"{code}-"):
                said = await self._say()
            assert said.startswith(f"{code} "), f"{step.at}: {step.text} expected, heard: {said}"
            return
        assert matches(step.text, said), f"{step.at}: {step.text} expected, heard: {said}"

    async def _say(self) -> str:
        line = await self._reader.readline()
        assert line.endswith(b"\r\n") or not line, line
        return line[:-2].decode() if line else "(closed)"


@asynccontextmanager
async def connected(node: SmtpNode, port: str) -> AsyncIterator[Client]:
    number = {"tls": node.tls_port, "starttls": node.port, "clear": node.clear_port}[port]
    wrapped = client_context() if port == "tls" else None
    reader, writer = await asyncio.open_connection("127.0.0.1", number, ssl=wrapped)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    CA.configure_trust(context)
    return context


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", FILES)
def test_the_server_leads_the_dialogue(name: str, loop: str, tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(lead(read(name), tmp_path))


async def lead(dialogue: Dialogue, folder: Path) -> None:
    async with smtp_node(folder, **dialogue.setup) as node:
        async with connected(node, dialogue.port) as client:
            for step in dialogue.steps:
                await client.take(step)
            await client.send()
        stored = await node.stored()
        if dialogue.repairs is not None:
            assert await node.repairs() == dialogue.repairs
    assert len(stored) == dialogue.stored
    if dialogue.content is not None:
        assert stored[-1].content.endswith(b"\r\n" + dialogue.content)
        head, _, _ = stored[-1].content.partition(dialogue.content)
        assert ADDED.fullmatch(head)
