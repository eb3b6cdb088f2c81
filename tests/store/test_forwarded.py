"""What came back to our address instead of the sender's is told to the sender."""

from functools import partial

import pytest

from relay.crypto import Keyring
from relay.formats import verp
from relay.formats.bounce.model import Clues, Kind, Returned, ReturnedRecipient
from relay.model import DsnWish, Envelope, Ingress, Recipient, State, Tenant
from relay.store.bounces import MOST_EVENTS, Recorded, Source, record
from relay.store.database import Database
from relay.store.queue.notify import Postmaster
from relay.store.spool import Spool
from relay.store.tenants import TenantStore

from .conftest import put, settlement

KEY = b"k" * 32
POSTMASTER = Postmaster("relay.test", "MAILER-DAEMON@relay.test", 50_000)


class Post:
    """Mail of `acme` by SMTP that was sent and comes back."""

    def __init__(self, db: Database, spool: Spool, tenants: TenantStore) -> None:
        self.db = db
        self.spool = spool
        self.tenants = tenants

    async def sent(self, notify: str | None = None, ingress: Ingress = Ingress.SMTP) -> str:
        recipient = Recipient(0, "x@there.test", notify, "rfc822;X@There.test")
        envelope = Envelope("ann@acme.test", (recipient,), envid="e1")
        accepted = await put(self.spool, envelope=envelope, ingress=ingress)
        [delivery] = await self.spool.claim("acme/main", 10)
        await self.spool.settle(settlement(self.spool, delivery, State.SENT))
        return accepted.pk

    async def comes_back(self, pk: str, *, is_signed: bool = True) -> Recorded:
        path = verp.return_path("bounces.acme.test")
        address = verp.signed(path, verp.Reference(pk, None), KEY)
        clues = Clues(delivered_to=(address,)) if is_signed else Clues(pillarbox_ids=(pk,))
        said = "550 5.1.1 no such user"
        told = ReturnedRecipient(
            "x@there.test", "failed", "5.1.1", 550, Kind.HARD, "userunknown", said, None
        )
        item = Returned(Kind.HARD, "userunknown", (told,), False, clues)
        seq = self.spool.next_seq(MOST_EVENTS)
        source = Source(None, (KEY,), POSTMASTER)
        recorded: Recorded = await self.db.write(
            partial(record, item, source, self.spool.now(), seq)
        )
        return recorded


@pytest.fixture
async def post(db: Database, spool: Spool, keyring: Keyring) -> Post:
    return Post(db, spool, TenantStore(db, keyring))


async def test_a_bounce_that_came_to_our_address_is_told_to_the_sender_once(post: Post) -> None:
    pk = await post.sent()
    [notice] = (await post.comes_back(pk)).notices
    assert (notice.about, notice.lane, notice.recipients) == (pk, "acme/main", 1)
    content = (await post.spool.content(notice.pk) or b"").decode()
    assert "To: <ann@acme.test>" in content
    assert "Original-Envelope-Id: e1" in content
    assert "Original-Recipient: rfc822;X@There.test" in content
    assert "Diagnostic-Code: smtp; 550 5.1.1 no such user" in content
    again = await post.comes_back(pk)
    assert (again.verdict, again.notices) == ("duplicate", ())


async def test_one_that_the_sender_got_too_is_not(post: Post) -> None:
    recorded = await post.comes_back(await post.sent(), is_signed=False)
    assert (recorded.verdict, recorded.notices) == ("hard", ())


@pytest.mark.parametrize("notify", ["NEVER", "SUCCESS"])
async def test_notify_counts_as_for_any_failure(post: Post, notify: str) -> None:
    assert (await post.comes_back(await post.sent(notify))).notices == ()


@pytest.mark.parametrize(
    ("wish", "ingress", "is_told"),
    [
        (None, Ingress.REST, False),
        (DsnWish.ALWAYS, Ingress.REST, True),
        (DsnWish.NEVER, Ingress.SMTP, False),
    ],
)
async def test_the_tenants_setting_counts_as_for_any_failure(
    post: Post, wish: DsnWish | None, ingress: Ingress, is_told: bool
) -> None:
    await post.tenants.save(Tenant("acme", "Acme", dsn=wish))
    recorded = await post.comes_back(await post.sent(ingress=ingress))
    assert bool(recorded.notices) == is_told
