"""Amazon's and Azure's storages as others imitate them: moto's server and Azurite, on loopback."""

import base64
import hmac
import shutil
import subprocess
from abc import ABC, abstractmethod
from email.utils import formatdate
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx

from tests.peers.private_postfix import free_ports, wait_for

BUCKET = "files"
AZURE_ACCOUNT = "devstoreaccount1"
# Azurite's own, known to everybody.
AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
AZURE_VERSION = "2021-12-02"


class Cloud(ABC):
    """A server with an empty bucket; it can be stopped and started again, without its files."""

    program = ""

    def __init__(self) -> None:
        (self.port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    @abstractmethod
    def storage_url(self) -> str: ...

    def start(self) -> None:
        program = shutil.which(self.program)
        assert program
        self._process = subprocess.Popen(
            [program, *self.options()], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self.port)
        self.make_bucket()

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(20)

    @abstractmethod
    def options(self) -> list[str]: ...

    @abstractmethod
    def make_bucket(self) -> None: ...


class Moto(Cloud):
    program = "moto_server"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def storage_url(self) -> str:
        return f"s3://key:secret@{BUCKET}/mail?endpoint={self.endpoint}&region=us-east-1"

    def options(self) -> list[str]:
        return ["-H", "127.0.0.1", "-p", str(self.port)]

    def make_bucket(self) -> None:
        httpx.put(f"{self.endpoint}/{BUCKET}", trust_env=False).raise_for_status()


class Azurite(Cloud):
    program = "azurite-blob"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/{AZURE_ACCOUNT}"

    @property
    def storage_url(self) -> str:
        login = f"{AZURE_ACCOUNT}:{quote(AZURE_KEY, safe='')}"
        return f"az://{login}@{BUCKET}/mail?endpoint={self.endpoint}"

    def options(self) -> list[str]:
        where = ["--blobHost", "127.0.0.1", "--blobPort", str(self.port)]
        return [*where, "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]

    def make_bucket(self) -> None:
        """Make the container, signed with the account's key (Azure's "Shared Key")."""
        date = formatdate(usegmt=True)
        headers = f"x-ms-date:{date}\nx-ms-version:{AZURE_VERSION}"
        resource = f"/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{BUCKET}\nrestype:container"
        text = "PUT" + "\n" * 12 + f"{headers}\n{resource}"
        mac = hmac.digest(base64.b64decode(AZURE_KEY), text.encode(), "sha256")
        answer = httpx.put(
            f"{self.endpoint}/{BUCKET}?restype=container",
            headers={
                "x-ms-date": date,
                "x-ms-version": AZURE_VERSION,
                "Authorization": f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(mac).decode()}",
            },
            trust_env=False,
        )
        answer.raise_for_status()
