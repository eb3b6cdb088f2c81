"""The container image: what it is made of, and that it serves, drains and keeps what it took."""

import asyncio
import os
import smtplib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.conftest import free_port
from tests.fakes.upstream import Action, FakeUpstream, Moment
from tests.peers.conftest import REQUIRED
from tests.peers.image import Container, Image, NoBaseError, built
from tests.waiting import until

pytestmark = [
    pytest.mark.peers("buildah", "debootstrap", "unshare"),
    pytest.mark.skipif(os.geteuid() != 0, reason="an image is built as root only"),
    pytest.mark.slow,
    pytest.mark.timeout(900),
]

TOKEN = "the-admin-token-of-the-image"
KEY = "a2V5LWtleS1rZXkta2V5LWtleS1rZXkta2V5LWtleSE="
PASSWORD = "a password of the image"
UPSTREAM_NEEDS_S = 1.0
TOOLS = ("pip", "pip3", "gcc", "cc", "make", "git")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    try:
        with built(tmp_path_factory.mktemp("image")) as image:
            yield image
    except NoBaseError as error:
        if REQUIRED:
            raise
        pytest.skip(f"no Debian to build on: {error}")


class Running:
    """A container with its secrets in files, and ports of its own."""

    def __init__(self, image: Image, folder: Path) -> None:
        data = folder / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        for name, secret in (("token", TOKEN), ("key", KEY)):
            file = data / name
            file.write_text(secret)
            os.chown(file, 10001, 10001)
        self.smtp_port, http_port = free_port(), free_port()
        self.container = Container(
            image,
            data,
            PILLARBOX_API_TOKEN_FILE="/data/token",
            PILLARBOX_ENCRYPTION_KEY_FILE="/data/key",
            PILLARBOX_SMTP_LISTEN=f"127.0.0.1:{self.smtp_port}",
            PILLARBOX_HTTP_LISTEN=f"127.0.0.1:{http_port}",
        )
        self.client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{http_port}",
            headers={"X-API-Token": TOKEN},
            trust_env=False,
            timeout=10,
        )

    async def is_ready(self) -> bool:
        try:
            return (await self.client.get("/ready")).status_code == 200
        except httpx.TransportError:
            return False

    async def until_ready(self) -> None:
        try:
            await until(self.is_ready, timeout_s=60, every_s=0.1)
        except AssertionError:
            raise AssertionError(self.container.log) from None

    async def set_up(self, upstream_port: int) -> None:
        account = {"tenant_id": "acme", "id": "main", "host": "127.0.0.1", "port": upstream_port}
        login = {"tenant_id": "acme", "username": "shop", "password": PASSWORD}
        for path, body in (
            ("/tenant", {"id": "acme"}),
            ("/account", {**account, "use_tls": False}),
            ("/credential", login),
        ):
            answer = await self.client.post(path, json=body)
            assert answer.status_code == 200, answer.text

    async def takes_no_more(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.smtp_port)
        except ConnectionRefusedError:
            return True
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        return False

    def send(self, recipient: str) -> None:
        with smtplib.SMTP("127.0.0.1", self.smtp_port, timeout=30) as client:
            client.login("shop", PASSWORD)
            client.sendmail("a@acme.test", recipient, "Subject: hi\r\n\r\nhi\r\n")


def test_the_image_says_what_it_is_and_how_it_is_run(image: Image) -> None:
    labels = {k.rpartition(".")[2]: v for k, v in image.config["Labels"].items()}
    assert labels["title"] == "Pillarbox"
    assert "GPL-3.0" in labels["licenses"]
    assert image.config["User"] == "10001:10001"
    assert set(image.config["Volumes"]) == {"/data"}
    assert set(image.config["ExposedPorts"]) == {"2525/tcp", "8000/tcp"}
    assert "/ready" in image.config["Healthcheck"]["Test"][-1]


def test_the_image_has_nothing_to_build_or_install_with(image: Image) -> None:
    folders = ("opt/pillarbox/bin", "usr/local/bin")
    found = [name for name in TOOLS for folder in folders if (image.root / folder / name).exists()]
    assert found == []
    packages = {path.name for path in image.root.glob("opt/pillarbox/lib/python3*/site-packages/*")}
    assert "relay" in packages
    assert packages.isdisjoint({"pip", "setuptools", "wheel", "pytest", "hatchling"})


async def test_it_serves_on_a_root_that_cannot_be_written_to(image: Image, tmp_path: Path) -> None:
    running = Running(image, tmp_path)
    async with FakeUpstream() as upstream:
        with running.container:
            await running.until_ready()
            assert running.container.run("sh", "-c", "> /written").returncode != 0
            healthy = running.container.run(*image.config["Healthcheck"]["Test"][1:])
            assert healthy.returncode == 0, healthy.stderr
            await running.set_up(upstream.port)
            await asyncio.to_thread(running.send, "bob@t.test")
            [mail] = await upstream.wait_for(1)
            assert mail.recipients == ("bob@t.test",)
        await running.client.aclose()
    unhealthy = running.container.run(*image.config["Healthcheck"]["Test"][1:])
    assert unhealthy.returncode != 0


async def test_sigterm_lets_it_finish_what_is_under_way(image: Image, tmp_path: Path) -> None:
    is_closed, is_begun = asyncio.Event(), asyncio.Event()

    async def answer_late(_moment: Moment) -> Action:
        is_begun.set()
        await is_closed.wait()
        await asyncio.sleep(UPSTREAM_NEEDS_S)
        return None

    running = Running(image, tmp_path)
    async with FakeUpstream(on={"DOT": answer_late}) as upstream:
        with running.container as container:
            await running.until_ready()
            await running.set_up(upstream.port)
            await asyncio.to_thread(running.send, "bob@t.test")
            await asyncio.wait_for(is_begun.wait(), 20)
            container.terminate()
            await until(running.takes_no_more, timeout_s=20)
            is_closed.set()
            assert await asyncio.to_thread(container.wait, 60) == 0
            assert [mail.recipients for mail in upstream.received] == [("bob@t.test",)]
        with running.container:
            await running.until_ready()
            listed = await running.client.get("/messages", params={"tenant_id": "acme"})
            assert [message["status"] for message in listed.json()["messages"]] == ["sent"]
        await running.client.aclose()
