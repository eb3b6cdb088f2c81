"""A file that comes as the answer to an HTTP call.

Promises besides those of `net.http`: one total time-out; an answer that is slower than the least
pace is cut; nothing is taken that is packed, redirected, or longer than the intake takes. Mistakes
of the server's are told apart by whether asking again can help (RFC 9110 §15).
"""

import asyncio
from dataclasses import dataclass

from relay.attachments.intake import Intake
from relay.errors import AttachmentGone, AttachmentUnavailable
from relay.net.call import CallFailed, CallRefused, Request, Response
from relay.net.http import HttpClient
from relay.net.url import Url, port_of

OK = 200
# RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4: the same may be asked again.
PASSING = frozenset({408, 425, 429})
WEB_PORTS = frozenset({80, 443})
FIRST_FREE_PORT = 1024
LATE = "its server did not send it in time"
SLOW = "its server sends it too slowly"
BROKEN = "no whole answer came from its server"
NOT_ALLOWED = "its address may not be asked"


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a file may take in all, and how slow it may come once `grace_s` are over."""

    timeout_s: float
    min_rate_bytes_s: float
    grace_s: float


class HttpFetcher:
    def __init__(self, client: HttpClient, pace: Pace) -> None:
        self._client = client
        self._pace = pace

    async def close(self) -> None:
        await self._client.close()

    async def fetch(self, request: Request, intake: Intake) -> None:
        """Take the answer in. Raises AttachmentUnavailable, AttachmentGone."""
        check_port(request.url)
        try:
            async with asyncio.timeout(self._pace.timeout_s), self._client.call(request) as answer:
                check_status(answer.status)
                check_form(answer, intake)
                await self._take(answer, intake)
        except TimeoutError:
            raise AttachmentUnavailable(LATE) from None
        except CallRefused as error:
            raise AttachmentGone(NOT_ALLOWED) from error
        except CallFailed as error:
            raise AttachmentUnavailable(BROKEN) from error

    async def _take(self, answer: Response, intake: Intake) -> None:
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        async for chunk in answer.chunks:
            await intake.take(chunk)
            passed_s = loop.time() - started_at
            is_slow = intake.size_bytes < self._pace.min_rate_bytes_s * passed_s
            if passed_s > self._pace.grace_s and is_slow:
                raise AttachmentUnavailable(SLOW)


def check_port(url: Url) -> None:
    """Refuse the ports of other services: an HTTP request can be read as words of their own."""
    port = port_of(url)
    if port < FIRST_FREE_PORT and port not in WEB_PORTS:
        raise AttachmentGone("its port may not be asked")


def check_status(status: int) -> None:
    if status == OK:
        return
    if status in PASSING or status >= 500:
        raise AttachmentUnavailable(f"its server answered {status}")
    if 300 <= status < 400:
        raise AttachmentGone(f"its server answered {status}, and redirects are not followed")
    raise AttachmentGone(f"its server answered {status}")


def check_form(answer: Response, intake: Intake) -> None:
    """Refuse what is packed although we asked for it as it is, and what says that it is too big."""
    coding = answer.headers.get(b"content-encoding", b"identity").strip().lower()
    if coding not in (b"", b"identity"):
        raise AttachmentGone("its server sends it compressed, though that was not asked for")
    length = answer.headers.get(b"content-length", b"")
    if length.isdigit():
        intake.check_size(int(length))
