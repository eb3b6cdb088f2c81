"""Large files in Amazon's and Azure's storages: a mail goes out with a link that works."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.fakes.upstream import FakeUpstream
from tests.peers.clouds import BUCKET, Azurite, Cloud, Moto
from tests.scenarios.conftest import Relay
from tests.scenarios.large_mail import BIG, SMALL, config, mail_with, served, untouched

HUGE = bytes(range(256)) * 50_000


@pytest.fixture(
    params=[
        pytest.param(Moto, marks=pytest.mark.peers("moto")),
        pytest.param(Azurite, marks=pytest.mark.peers("azurite")),
    ]
)
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    with request.param() as server:
        yield server


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as server:
        yield server


def link_in(content: bytes, name: str) -> str:
    found = re.search(rf"{re.escape(name)} \(\S+ \S+\):\r\n(\S+)\r\n".encode(), content)
    assert found
    return found[1].decode()


async def set_up(relay: Relay, upstream: FakeUpstream, url: str, **changes: object) -> None:
    wanted = config(Path("/"), storage_url=url, public_base_url=None, file_ttl_days=1) | changes
    await relay.tenant("acme", large_file_config=wanted)
    await relay.account(upstream)


@pytest.mark.parametrize("data", [BIG, HUGE], ids=["in one request", "in parts"])
async def test_a_link_in_the_mail_brings_the_file(
    relay: Relay, upstream: FakeUpstream, cloud: Cloud, data: bytes
) -> None:
    await set_up(relay, upstream, cloud.storage_url)
    content = mail_with(("Übersicht.pdf", data), ("small.pdf", SMALL))
    accepted = await relay.send(content=content)
    await relay.settled(accepted.pk, "sent", timeout_s=30)
    sent = upstream.received[0].content
    assert untouched(sent) == untouched(content)[1:]
    (view,) = await relay.node.stores.attachments.views(accepted.pk)
    assert view.link
    answer = httpx.get(view.link, trust_env=False)
    assert (answer.status_code, answer.content == data) == (200, True)
    assert answer.headers["content-type"] == "application/pdf"
    assert "%C3%9Cbersicht.pdf" in answer.headers["content-disposition"]
    assert answer.headers["content-disposition"].startswith("attachment")


async def test_a_mail_waits_until_its_storage_is_back(
    relay: Relay, upstream: FakeUpstream, cloud: Cloud
) -> None:
    await set_up(relay, upstream, cloud.storage_url)
    cloud.stop()
    accepted = await relay.send(content=mail_with(("big.pdf", BIG)))
    view = await relay.settled(accepted.pk, "deferred", timeout_s=30)
    assert "storage for large files" in (view.recipients[0].reply or "")
    cloud.start()
    await relay.settled(accepted.pk, "sent", timeout_s=60)
    link = link_in(upstream.received[0].content, "big.pdf")
    assert httpx.get(link, trust_env=False).content == BIG


async def test_a_link_that_lasts_longer_than_a_cloud_signs_for_leads_there_by_us(
    relay: Relay, upstream: FakeUpstream, cloud: Cloud
) -> None:
    async with served(relay) as url, httpx.AsyncClient(trust_env=False) as client:
        changes = {"public_base_url": url, "file_ttl_days": 30}
        await set_up(relay, upstream, cloud.storage_url, **changes)
        accepted = await relay.send(content=mail_with(("big.pdf", BIG)))
        await relay.settled(accepted.pk, "sent", timeout_s=30)
        link = link_in(upstream.received[0].content, "big.pdf")
        assert link.startswith(f"{url}/download/")
        answer = await client.get(link, follow_redirects=True)
        assert (answer.status_code, answer.content) == (200, BIG)
        assert [hop.status_code for hop in answer.history] == [302]


@pytest.mark.peers("moto")
async def test_amazon_is_reached_by_its_usual_variables(
    relay: Relay, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Moto() as moto:
        monkeypatch.setenv("AWS_ENDPOINT_URL", moto.endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-of-the-variables")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        await set_up(relay, upstream, f"s3://{BUCKET}")
        accepted = await relay.send(content=mail_with(("big.pdf", BIG)))
        await relay.settled(accepted.pk, "sent", timeout_s=30)
        link = httpx.URL(link_in(upstream.received[0].content, "big.pdf"))
        assert str(link).startswith(f"{moto.endpoint}/{BUCKET}/acme/")
        assert link.params["X-Amz-Credential"].startswith("key-of-the-variables/")
        assert link.params["X-Amz-Expires"] == "86400"
        assert httpx.get(link, trust_env=False).content == BIG
