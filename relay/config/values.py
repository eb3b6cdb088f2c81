"""The types that settings have: what a value may look like and how it is read.

Each type takes what TOML gives (numbers, lists) and what a variable gives (text, lists with
commas). A message of a refusal never repeats the value: the value may be a secret, and the caller
knows whether it is.
"""

import ipaddress
import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    SecretStr,
)

from relay.crypto import Keyring
from relay.errors import ConfigError, Refused
from relay.formats.address import mailbox

_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?\.?")
_INSTANCE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_TOKEN = re.compile(r"[\x21-\x7e]+")
_LONGEST_S = 10 * 366 * 86400
_LARGEST = 1 << 50
MOST_REPORTS = 1000
MOST_RECIPIENTS = 1000

IpNetwork = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Listen:
    """An address to listen on. `str()` gives what `parse` takes; port 0 lets the system choose."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Listen":
        """Read `host:port`, with an IPv6 address in brackets; raises ValueError."""
        host, colon, port = text.strip().rpartition(":")
        if not colon or not host:
            raise ValueError(
                "must be host:port, such as 127.0.0.1:2525, [::1]:2525 or 0.0.0.0:2525"
            )
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
            raise ValueError("the port must be a number from 0 to 65535")
        return cls(_host(host), int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it; a name other than localhost counts as not."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _host(text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        return str(ipaddress.IPv6Address(text[1:-1]))
    if ":" in text:
        raise ValueError("an IPv6 address must be in brackets: [::1]:2525")
    if not _HOST_NAME.fullmatch(text):
        raise ValueError("the host is neither an address nor a name")
    return text


def is_host_name(text: str) -> bool:
    return _HOST_NAME.fullmatch(text) is not None


def is_instance_name(text: str) -> bool:
    return _INSTANCE_NAME.fullmatch(text) is not None


def sqlite_path(url: str) -> str | None:
    """Return the path in `sqlite:<path>` or `sqlite:///<path>`, None for a URL of another kind."""
    if not url.startswith("sqlite:"):
        return None
    path = url.removeprefix("sqlite:")
    return "/" + path.lstrip("/") if path.startswith("///") else path


def _listen(value: object) -> Listen:
    if isinstance(value, Listen):
        return value
    if not isinstance(value, str):
        raise ValueError("must be text: host:port")  # noqa: TRY004 - pydantic takes ValueError
    return Listen.parse(value)


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic takes ValueError
    return value


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _check_host_name(text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        ipaddress.ip_address(text[1:-1].removeprefix("IPv6:"))
    elif not is_host_name(text):
        raise ValueError("must be a host name or an address in brackets (RFC 5321 §4.1.3)")
    return text


def _check_address(text: str) -> str:
    try:
        return mailbox(text, smtputf8=False)
    except Refused as refused:
        raise ValueError(str(refused)) from None


def _check_instance_name(text: str) -> str:
    if not is_instance_name(text):
        raise ValueError("must be 1 to 64 letters, digits, dots, hyphens or underscores")
    return text


def _check_token(secret: SecretStr) -> SecretStr:
    if not _TOKEN.fullmatch(secret.get_secret_value()):
        raise ValueError("must be printable ASCII without spaces: it travels in an HTTP header")
    return secret


def _check_keys(secret: SecretStr) -> SecretStr:
    try:
        Keyring.from_text(secret.get_secret_value())
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return secret


def _check_database(secret: SecretStr) -> SecretStr:
    url = secret.get_secret_value()
    if not url.isprintable():
        raise ValueError("contains a control character")
    path = sqlite_path(url)
    if path is None and not url.startswith(("postgresql://", "postgres://")):
        raise ValueError("must be sqlite:<path> or postgresql://user@host/database")
    if path is not None and (not path or path.startswith("//")):
        raise ValueError("names no file: write sqlite:<path>")
    if path == ":memory:":
        raise ValueError("a database in memory would lose accepted mail: name a file")
    return secret


def _network(value: object) -> IpNetwork:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    if not isinstance(value, str):
        raise ValueError("must be text: a network such as 10.0.0.0/8")  # noqa: TRY004 - pydantic takes ValueError
    return ipaddress.ip_network(value)


def _roots(value: object) -> object:
    if not isinstance(value, str):
        return value
    found: dict[str, list[str]] = {}
    for part in _split(value) or ():  # type: ignore[attr-defined] # text becomes a tuple
        tenant_id, equals, folder = part.partition("=")
        if not equals:
            raise ValueError("must be tenant=/folder, several with commas")
        found.setdefault(tenant_id.strip(), []).append(folder.strip())
    return found


def _check_root(path: Path) -> Path:
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError("each folder must be an absolute path")
    return path


def _check_growing(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError("must be the first and the longest wait, in this order")
    return pair


Count = Annotated[int, BeforeValidator(_number), Field(ge=1, le=_LARGEST)]
UpToMebibyte = Annotated[int, Field(ge=0, le=1048576)]
ReportCount = Annotated[int, BeforeValidator(_number), Field(ge=1, le=MOST_REPORTS)]
RecipientCount = Annotated[int, BeforeValidator(_number), Field(ge=1, le=MOST_RECIPIENTS)]
# At two deaths in a row all mail that a node had is suspected: so few put nothing aside.
FaultCount = Annotated[int, BeforeValidator(_number), Field(ge=3, le=100)]
Size = Annotated[int, BeforeValidator(_number), Field(ge=0, le=_LARGEST)]
Finite = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Seconds = Annotated[Finite, Field(gt=0, le=_LONGEST_S)]
Days = Annotated[Finite, Field(ge=0, le=36_500)]
Hours = Annotated[Finite, Field(ge=24, le=8760)]
SecondsOrZero = Annotated[Finite, Field(ge=0, le=_LONGEST_S)]
Share = Annotated[Finite, Field(ge=0, lt=1)]
Waits = Annotated[tuple[Seconds, ...], BeforeValidator(_split), Field(min_length=1, max_length=100)]
FirstAndLongest = Annotated[
    tuple[Seconds, Seconds], BeforeValidator(_split), AfterValidator(_check_growing)
]
ListenAddress = Annotated[Listen, PlainValidator(_listen), PlainSerializer(str)]
Network = Annotated[IpNetwork, PlainValidator(_network), PlainSerializer(str)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(_split)]
ListenAddresses = Annotated[tuple[ListenAddress, ...], BeforeValidator(_split)]
Root = Annotated[Path, AfterValidator(_check_root), PlainSerializer(str)]
Roots = Annotated[dict[str, tuple[Root, ...]], BeforeValidator(_roots)]
Paths = Annotated[tuple[Path, ...], BeforeValidator(_split)]
HostName = Annotated[str, AfterValidator(_check_host_name)]
InstanceName = Annotated[str, AfterValidator(_check_instance_name)]
Token = Annotated[SecretStr, AfterValidator(_check_token)]
EncryptionKeys = Annotated[SecretStr, AfterValidator(_check_keys)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_check_database)]
Address = Annotated[str, AfterValidator(_check_address)]
LogFormat = Annotated[Literal["text", "json"], BeforeValidator(_lower)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]
Handled = Annotated[Literal["keep", "seen", "move", "delete"], BeforeValidator(_lower)]
FolderName = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
LookDays = Annotated[Finite, Field(gt=0, le=3650)]
Suppressed = Annotated[Literal["reject", "accept"], BeforeValidator(_lower)]
Compat = Annotated[Literal["none", "genro"], BeforeValidator(_lower)]
