"""Giving many mails to an instance, several at once, and knowing of each what became of it.

Whoever interrupts it loses nothing: what was given is kept, and given again it is known.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event

import httpx

from cli.client import Api, Json, detail_of
from cli.envelope import Envelope, envelope_of, id_of, portions
from cli.failure import Failure
from cli.mail_files import MailFile
from relay.errors import Refused

AT_ONCE = 8
BUSY = (429, 503, 507)
TRIES = 4
LONGEST_WAIT_S = 10.0
ALREADY = "already sent"


@dataclass(frozen=True, slots=True)
class Wish:
    """What was said of all mails; `query` is what else goes with each."""

    sender: str | None
    recipients: tuple[str, ...]
    query: Json


@dataclass(frozen=True, slots=True)
class Given:
    """What became of a mail, or of a portion of its recipients: it has a pk, or else a reason why
    not.
    """

    name: str
    id: str | None
    pk: str | None
    reason: str | None = None

    @property
    def is_refused(self) -> bool:
        return self.pk is None and self.reason != ALREADY


class Giver:
    def __init__(self, api: Api, wish: Wish) -> None:
        self._api = api
        self._wish = wish
        self._stopped = Event()

    def give_all(self, mails: Sequence[MailFile], note: Callable[[list[Given]], None]) -> None:
        """Give the mails, and note of each what became of it, as it is known.

        Raises KeyboardInterrupt and what a connection raises, once what was under way is noted.
        """
        waiting = iter(mails)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            running: set[Future[list[Given]]] = set()
            try:
                while self._refill(pool, running, waiting):
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        note(future.result())
            except BaseException:
                self._stopped.set()
                for future in wait(running).done:
                    if future.exception() is None:
                        note(future.result())
                raise

    def _refill(
        self,
        pool: ThreadPoolExecutor,
        running: set["Future[list[Given]]"],
        waiting: Iterator[MailFile],
    ) -> bool:
        """Keep some under way, and say whether any is: a mailbox must not be in memory whole."""
        while len(running) < AT_ONCE and (mail := next(waiting, None)):
            running.add(pool.submit(self.give, mail))
        return bool(running)

    def give(self, mail: MailFile) -> list[Given]:
        """Give one mail."""
        try:
            content = mail.load()
            envelope = envelope_of(content, self._wish.sender, self._wish.recipients)
        except OSError as error:
            return [Given(mail.name, None, None, error.strerror)]
        except Refused as refused:
            return [Given(mail.name, None, None, str(refused))]
        return [self._give(mail.name, content, portion) for portion in portions(envelope)]

    def _give(self, name: str, content: bytes, envelope: Envelope) -> Given:
        mail_id = id_of(content, envelope)
        query = {
            **self._wish.query,
            "id": mail_id,
            "from": envelope.sender,
            "to": list(envelope.recipients),
        }
        answer = self._post(content, query)
        if answer.is_success:
            return given_of(name, mail_id, answer.json())
        return Given(name, mail_id, None, detail_of(answer))

    def _post(self, content: bytes, query: Json) -> httpx.Response:
        """Give it again after a while where the instance is busy. Raises Failure when it stays
        so.
        """
        for tries in range(1, TRIES + 1):
            answer = self._api.post_mail(content, **query)
            if answer.status_code not in BUSY:
                return answer
            if tries < TRIES and self._stopped.wait(pause_s(answer)):
                break
        raise Failure(detail_of(answer), 75)


def pause_s(answer: httpx.Response) -> float:
    asked = answer.headers.get("Retry-After", "1")
    return min(float(asked), LONGEST_WAIT_S) if asked.isdigit() else 1.0


def given_of(name: str, mail_id: str, answer: Json) -> Given:
    if answer["messages"]:
        return Given(name, mail_id, answer["messages"][0]["pk"])
    return Given(name, mail_id, None, answer["rejected"][0]["reason"])


FINAL = frozenset({"sent", "partial", "failed", "cancelled"})


def follow(
    ask: Callable[[str], Json | None], ids: Sequence[str], deadline: float | None, every_s: float
) -> Iterator[tuple[str, Json | None]]:
    """Give each message once it is final, None for one that is gone. Raises Failure at the
    deadline (monotonic).
    """
    pending = list(ids)
    while pending:
        left = []
        for mail_id in pending:
            record = ask(mail_id)
            if record is None or record["status"] in FINAL:
                yield mail_id, record
            else:
                left.append(mail_id)
        pending = left
        if pending and deadline is not None and time.monotonic() > deadline:
            raise Failure(f"{len(pending)} are not final yet", 75)
        if pending:
            time.sleep(every_s)
