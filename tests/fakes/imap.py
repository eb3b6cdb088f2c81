"""A real IMAP server on a loopback port that misbehaves as told.

    async with FakeImap(on={"IDLE": HANG}) as server:
        server.add(b"Subject: ...")
        mailbox = server.bounce_mailbox()

`on` maps a moment (GREETING, LOGIN, SELECT, SEARCH, FETCH, IDLE, ...) to what happens there instead
of the ordinary answer: HANG (say nothing, ever), DROP (close), ECHO (refuse, and repeat what was
said), Raw(b"...", drop=False) (exactly these bytes), or a list: the k-th time its k-th element,
then the ordinary answer. It may be changed while the server runs.
"""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from relay.store.instance import BounceMailbox
from tests.fakes.script import DROP, HANG, Raw, Sign

__all__ = ["DROP", "ECHO", "HANG", "FakeImap", "Raw"]

ECHO = Sign("ECHO")

CAPABILITIES = ("IMAP4rev1", "IDLE", "MOVE", "UIDPLUS")
Action = Sign | Raw | None
Rule = Action | list[Action]

COMMAND = re.compile(r"(\S+) (?:UID )?(\S+) ?(.*)", re.IGNORECASE)
PARTIAL = re.compile(r"BODY\.PEEK\[\]<0\.(\d+)>")


class GoneError(Exception):
    pass


@dataclass(slots=True)
class Kept:
    raw: bytes = field(repr=False)
    flags: set[str] = field(default_factory=set)


class FakeImap:
    """See the module. `commands`, `connections` and `open` are read by tests."""

    def __init__(
        self,
        *,
        on: Mapping[str, Rule] | None = None,
        capabilities: Sequence[str] = CAPABILITIES,
        uid_validity: int = 1,
    ) -> None:
        self.on: dict[str, Rule] = dict(on or {})
        self.capabilities = tuple(capabilities)
        self.uid_validity = uid_validity
        self.mails: dict[int, Kept] = {}
        self.commands: list[str] = []
        self.connections = 0
        self.open = 0
        self.port = 0
        self._next_uid = 1
        self._used: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "FakeImap":
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; after `stop` on the same port again."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._server.wait_closed()
            self._server = None

    def add(self, *raws: bytes) -> None:
        """Have mail arrive."""
        for raw in raws:
            self.mails[self._next_uid] = Kept(raw)
            self._next_uid += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def bounce_mailbox(self, *, poll_s: int = 1) -> BounceMailbox:
        return BounceMailbox(
            bounce_enabled=True,
            bounce_imap_host="127.0.0.1",
            bounce_imap_port=self.port,
            bounce_imap_user="bounces",
            bounce_imap_password="secret",
            bounce_imap_ssl=False,
            bounce_poll_interval=poll_s,
        )

    def account_settings(self) -> dict[str, Any]:
        """Return what an account needs to have this mailbox."""
        return {
            "imap_host": "127.0.0.1",
            "imap_port": self.port,
            "imap_user": "theirs",
            "imap_password": "secret",
            "imap_ssl": False,
        }

    def asked(self, verb: str) -> int:
        """Count the commands of a kind."""
        return sum(command == verb for command in self.commands)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        try:
            await Conversation(self, reader, writer).run()
        except (OSError, EOFError, GoneError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self.open -= 1
            writer.transport.abort()

    def action(self, moment: str) -> Action:
        rule = self.on.get(moment)
        if not isinstance(rule, list):
            return rule
        k = self._used.get(moment, 0)
        self._used[moment] = k + 1
        return rule[k] if k < len(rule) else None

    async def changed(self) -> None:
        await self._changed.wait()


class Conversation:
    """One connection; every mail of the server is in its one folder."""

    def __init__(
        self, server: FakeImap, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer

    async def run(self) -> None:
        if not await self._misbehaves("GREETING"):
            await self._say("* OK here")
        while line := await self._line():
            match = COMMAND.fullmatch(line)
            assert match, line
            tag, verb, rest = match[1], match[2].upper(), match[3]
            self._server.commands.append(verb)
            if not await self._misbehaves(verb, line):
                await self._answer(tag, verb, rest)

    async def _misbehaves(self, moment: str, line: str = "") -> bool:
        action = self._server.action(moment)
        if action is None:
            return False
        if action is ECHO:
            tag, _, rest = line.partition(" ")
            await self._say(f"{tag} NO not understood: {rest}")
            return True
        if action is HANG:
            await asyncio.Event().wait()
        if isinstance(action, Raw):
            self._writer.write(action.data)
            await self._writer.drain()
            if not action.drop:
                return True
        raise GoneError

    async def _answer(self, tag: str, verb: str, rest: str) -> None:
        if verb == "IDLE":
            await self._idle()
        for line in self._lines(verb, rest):
            await self._say(line)
        await self._say(f"{tag} OK done")
        if verb == "LOGOUT":
            raise GoneError

    def _lines(self, verb: str, rest: str) -> Iterator[str | bytes]:
        mails = self._server.mails
        if verb == "CAPABILITY":
            yield f"* CAPABILITY {' '.join(self._server.capabilities)}"
        elif verb == "SELECT":
            yield f"* {len(mails)} EXISTS"
            yield f"* OK [UIDVALIDITY {self._server.uid_validity}] as it is"
        elif verb == "SEARCH":
            first = int(re.findall(r"UID (\d+):", rest)[0])
            # The star is the last mail, whatever the number before it (RFC 9051 §9, seq-range).
            found = [uid for uid in mails if uid >= first] or list(mails)[-1:]
            yield " ".join(["* SEARCH", *map(str, found)])
        elif verb == "FETCH":
            yield from self._fetched(rest)
        elif verb in ("STORE", "MOVE", "EXPUNGE"):
            self._change(verb, rest)

    def _fetched(self, rest: str) -> Iterator[str | bytes]:
        asked, _, items = rest.partition(" ")
        partial = PARTIAL.search(items)
        for uid in map(int, asked.split(",")):
            kept = self._server.mails.get(uid)
            if kept is None:
                continue
            if partial is None:
                yield f"* {uid} FETCH (UID {uid} RFC822.SIZE {len(kept.raw)})"
                continue
            body = kept.raw[: int(partial[1])]
            start = f"* {uid} FETCH (UID {uid} BODY[]<0> {{{len(body)}}}\r\n"
            yield start.encode() + body + b")"

    def _change(self, verb: str, rest: str) -> None:
        asked, _, what = rest.partition(" ")
        for uid in map(int, asked.split(",")):
            if verb == "STORE":
                self._server.mails[uid].flags |= set(re.findall(r"\\\w+", what))
            else:
                self._server.mails.pop(uid, None)

    async def _idle(self) -> None:
        await self._say("+ idling")
        done = asyncio.ensure_future(self._line())
        try:
            while not done.done():
                changed = asyncio.ensure_future(self._server.changed())
                await asyncio.wait({done, changed}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if not done.done():
                    await self._say(f"* {len(self._server.mails)} EXISTS")
        finally:
            done.cancel()

    async def _line(self) -> str:
        return (await self._reader.readline()).decode().strip()

    async def _say(self, line: str | bytes) -> None:
        data = line if isinstance(line, bytes) else line.encode()
        self._writer.write(data + b"\r\n")
        await self._writer.drain()
