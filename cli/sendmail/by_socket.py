"""A mail's way over the local socket of an instance: whoever may open it is its operator.

HTTP/1.1 over AF_UNIX, a connection for each request. Promises: `submit` returns when the relay has
the mail, and else raises Ended with what the relay's answer means to a caller.
"""

import http.client
import json
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from admin_api.local import address_of
from cli.sendmail.ending import Ended
from cli.sendmail.letter import Envelope
from cli.sendmail.settings import Settings

# The relay reads 8 KB of a request's head.
MOST_QUERY_CHARS = 4000
MOST_ANSWER_BYTES = 16_777_216
# What is wrong with the set-up and not with the mail.
CODES = {
    "sender not allowed": os.EX_NOPERM,
    "missing account_id": os.EX_CONFIG,
    "account not found for tenant": os.EX_CONFIG,
}

Json = dict[str, Any]


class LocalConnection(http.client.HTTPConnection):
    """Speaks over a socket that is connected already."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__("localhost")
        self.sock = connected


def submit(settings: Settings, envelope: Envelope, content: bytes) -> None:
    """Give a mail to the relay. Raises Ended; of more recipients than a request can name, the first
    may have been taken then.
    """
    for some in portions(envelope.recipients):
        query: Json = {"from": envelope.sender or "<>", "to": list(some)}
        if settings.account:
            query["account_id"] = settings.account
        ask(settings, "POST", "/messages/raw", query, content)


def portions(recipients: Sequence[str]) -> Iterator[Sequence[str]]:
    taken: list[str] = []
    for address in recipients:
        if taken and len(urlencode({"to": [*taken, address]}, doseq=True)) > MOST_QUERY_CHARS:
            yield taken
            taken = []
        taken.append(address)
    yield taken


def ask(
    settings: Settings, method: str, path: str, query: Json, content: bytes | None = None
) -> Json:
    """Return the answer to a request about the tenant. Raises Ended."""
    target = f"{path}?{urlencode({'tenant_id': settings.tenant, **query}, doseq=True)}"
    headers = {} if content is None else {"Content-Type": "message/rfc822"}
    connection = LocalConnection(connected(settings))
    try:
        connection.request(method, target, content, headers)
        response = connection.getresponse()
        text = response.read(MOST_ANSWER_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise Ended(os.EX_TEMPFAIL, f"the relay broke off: {error}") from None
    finally:
        connection.close()
    return understood(response.status, text)


def understood(status: int, text: bytes) -> Json:
    """Return an answer that is a success. Raises Ended for any other."""
    try:
        answer: Json = json.loads(text)
    except ValueError:
        raise Ended(os.EX_TEMPFAIL, f"the relay answered {status}") from None
    if status != http.client.OK:
        raise refusal(status, answer.get("detail"))
    return answer


def refusal(status: int, detail: object) -> Ended:
    reasons = reasons_in(detail)
    text = "; ".join(reasons) or f"the relay answered {status}"
    if status >= 500 or status == http.client.TOO_MANY_REQUESTS:
        return Ended(os.EX_TEMPFAIL, text)
    if status in (401, 403):
        return Ended(os.EX_NOPERM, text)
    return Ended(next((CODES[each] for each in reasons if each in CODES), os.EX_DATAERR), text)


def reasons_in(detail: object) -> list[str]:
    """Return the reasons of rejections, else what else the detail says."""
    if not isinstance(detail, dict):
        return [str(detail)] if detail else []
    rejected = [each for each in detail.get("rejected", []) if isinstance(each, dict)]
    found = [str(each.get("detail") or each.get("reason")) for each in rejected]
    return found or [str(detail.get("error", detail))]


def connected(settings: Settings) -> socket.socket:
    """Connect to a node of the instance. Raises Ended."""
    if not settings.tenant:
        raise Ended(os.EX_CONFIG, "set a server, or a tenant: where is mail to go?")
    last: OSError | None = None
    try:
        for path in sockets_of(settings):
            try:
                return connected_to(path, settings.timeout_s)
            except (FileNotFoundError, ConnectionRefusedError) as error:
                last = error  # of a node that was killed
    except PermissionError as error:
        raise Ended(os.EX_NOPERM, f"only the owner of the instance may: {error}") from None
    except OSError as error:
        last = error
    raise Ended(os.EX_TEMPFAIL, f"the relay does not run: {last or 'it has no socket'}")


def connected_to(path: Path, timeout_s: float) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(timeout_s)
    try:
        with address_of(path) as address:
            made.connect(address)
    except OSError as error:
        made.close()
        error.filename = str(path)
        raise
    return made


def sockets_of(settings: Settings) -> list[Path]:
    if settings.socket:
        return [Path(settings.socket).expanduser()]
    home = settings.home or os.environ.get("PILLARBOX_HOME") or "~/.pillarbox"
    folder = Path(home).expanduser() / settings.instance
    return [folder / name for name in sorted(os.listdir(folder)) if is_socket(name)]


def is_socket(name: str) -> bool:
    return name.startswith("api") and name.endswith(".sock")
