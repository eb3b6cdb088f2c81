"""Google Cloud Storage as far as files go: the XML API of one server, on a loopback port.

PUT and GET and DELETE of an object, and a multipart upload; whoever asks is let in, unless
`refuse_with` is set. What an object is stored with is in `objects`, by "bucket/name".
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qs, quote, unquote, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


@dataclass
class Stored:
    data: bytes
    content_type: str
    disposition: str


@dataclass
class FakeGcs:
    """Use as a context manager; `url` is its address."""

    objects: dict[str, Stored] = field(default_factory=dict)
    parts: dict[int, bytes] = field(default_factory=dict)
    started: dict[str, str] = field(default_factory=dict)
    refuse_with: int | None = None
    url: str = ""

    def __enter__(self) -> "FakeGcs":
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def storage_url(self, bucket: str, folder: str) -> str:
        """Return a storage URL with a key that leads here."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        account = {
            "type": "service_account",
            "client_email": "relay@project.test",
            "private_key": pem.decode(),
            "private_key_id": "1",
            "gcs_base_url": self.url,
        }
        return f"gs://{bucket}/{folder}?service_account_key={quote(json.dumps(account))}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, gcs: FakeGcs, *args: object) -> None:
        self._gcs = gcs
        super().__init__(*args)  # type: ignore[arg-type] # as http.server calls it

    def log_message(self, format: str, *args: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def served(self, serve: Callable[[str, dict[str, list[str]], bytes], None]) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self._gcs.refuse_with:
            self.answer(self._gcs.refuse_with)
        else:
            serve(unquote(parts.path).lstrip("/"), parse_qs(parts.query, True), body)

    def do_PUT(self) -> None:
        self.served(self.put)

    def do_POST(self) -> None:
        self.served(self.post)

    def do_GET(self) -> None:
        self.served(self.get)

    def do_DELETE(self) -> None:
        self.served(self.delete)

    def put(self, name: str, query: dict[str, list[str]], body: bytes) -> None:
        if "partNumber" in query:
            self._gcs.parts[int(query["partNumber"][0])] = body
        else:
            self._gcs.objects[name] = self.stored(body)
        self.answer(200, ETag='"1"', Last_Modified="Sun, 22 Nov 2026 00:00:00 GMT")

    def post(self, name: str, query: dict[str, list[str]], body: bytes) -> None:
        if "uploads" in query:
            self._gcs.parts.clear()
            self._gcs.objects[name] = self.stored(b"")
            self.answer(200, b"<R><UploadId>u1</UploadId></R>", Content_Type="application/xml")
            return
        whole = b"".join(self._gcs.parts[n] for n in sorted(self._gcs.parts))
        self._gcs.objects[name].data = whole
        self.answer(200, b"<R><ETag>1</ETag></R>", ETag='"1"', Content_Type="application/xml")

    def stored(self, body: bytes) -> Stored:
        kind, disposition = self.headers["Content-Type"], self.headers["Content-Disposition"]
        return Stored(body, kind, disposition)

    def get(self, name: str, query: dict[str, list[str]], body: bytes) -> None:
        found = self._gcs.objects.get(name)
        if found is None or "X-Goog-Signature" not in query:
            self.answer(404)
            return
        self.answer(
            200, found.data, Content_Type=found.content_type, Content_Disposition=found.disposition
        )

    def delete(self, name: str, query: dict[str, list[str]], body: bytes) -> None:
        self.answer(204 if self._gcs.objects.pop(name, None) else 404)
