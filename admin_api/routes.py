"""What a route is, and what its handler is given. No handler knows the web framework.

The same table serves the routes and describes them in OpenAPI, so nothing is served that is not
documented.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from admin_api import strict_json
from admin_api.auth import Caller
from admin_api.problems import Answer, Problem
from admin_api.schemas.model import M, Model, known_fields, parse
from admin_api.services import Services
from relay.formats.headers.slices import at_once
from relay.turns import in_turns
from relay.value import frozen

_JSON = "application/json"


class Access(Enum):
    """Which token a route asks for. TENANT is the admin's too."""

    OPEN = "none"
    TENANT = "tenant"
    ADMIN = "admin"


@dataclass(slots=True)
class Call:
    """A request. `peer_ip` is None over the local socket; `headers` have lower-case names. `body`
    is empty until it was read, which it is for callers who may ask this.
    """

    caller: Caller
    path: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    peer_ip: str | None
    body: bytes = b""

    def read_query(self, model: type[M]) -> M:
        """Return the query as a model. A parameter that is repeated is refused, unless it is a
        list.
        """
        lists = {n for n, f in model.model_fields.items() if "list" in str(f.annotation)}
        values: dict[str, object] = {}
        for name, given in self.query.items():
            if name in lists:
                values[name] = list(given)
            elif len(given) == 1:
                values[name] = given[0]
            else:
                raise Problem(
                    422,
                    [
                        {
                            "loc": ["query", name],
                            "msg": "given more than once",
                            "type": "value_error",
                        }
                    ],
                )
        return parse(model, values, place="query")

    def read_object(self) -> dict[str, object]:
        """Return the body, which must be a JSON object. Raises 415 and 422."""
        return at_once(self._reading(""))

    async def read_list(self, name: str) -> dict[str, object]:
        """As `read_object`, of a body that is long by its first member, a list of this name."""
        return await in_turns(self._reading(name))

    def _reading(self, name: str) -> Generator[None, None, dict[str, object]]:
        self.check_type(_JSON)
        try:
            value = yield from strict_json.reading(self.body, name)
        except strict_json.InvalidJson as error:
            raise Problem(
                422, [{"loc": ["body", *error.path], "msg": str(error), "type": "json_invalid"}]
            ) from None
        if not isinstance(value, dict):
            raise Problem(
                422, [{"loc": ["body"], "msg": "a JSON object is expected", "type": "dict_type"}]
            )
        return value

    def read_body(self, model: type[M]) -> tuple[M, list[str] | None]:
        """Return the body as a model, and the names of the fields that it does not know."""
        value = self.read_object()
        return parse(model, value, place="body"), unknown_fields(value, model)

    def read_optional_body(self, model: type[M]) -> tuple[M, list[str] | None]:
        """Return the body as a model; none, or an empty one, is taken as `{}`."""
        if not self.body.strip():
            return parse(model, {}, place="body"), None
        return self.read_body(model)

    def check_type(self, *wanted: str) -> None:
        """Raise 415 for a body of another type; none given is taken as the right one."""
        given = self.headers.get("content-type", wanted[0])
        if given not in wanted:
            given = given.partition(";")[0].strip().lower()
        is_json = _JSON in wanted and given.endswith("+json")
        if given not in wanted and not is_json:
            raise Problem(415, f"Content-Type {' or '.join(wanted)} is expected")
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise Problem(415, "Content-Encoding is not accepted")


@frozen
class Stream:
    """A long answer, sent piece by piece. What fails after the first piece cuts the connection."""

    pieces: AsyncIterator[bytes]
    content_type: str = _JSON
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Services, Call], Awaitable[Answer | Stream]]


@frozen
class Route:
    """One route. `path` has its parameters in braces; the models are for OpenAPI, handlers read by
    themselves.
    """

    method: str
    path: str
    handler: Handler
    access: Access
    summary: str
    answer: type[Model] | None = None
    body: type[Model] | None = None
    query: type[Model] | None = None
    answer_type: str = _JSON
    body_type: str = _JSON
    description: str = ""
    body_is_optional: bool = False
    takes_key: bool = False
    failures: Mapping[int, str] = field(default_factory=dict)

    @property
    def is_logged(self) -> bool:
        """Whether calls of it change something."""
        return self.method not in ("GET", "HEAD")


def unknown_fields(value: Mapping[str, object], model: type[Model]) -> list[str] | None:
    return sorted(value.keys() - known_fields(model)) or None


def shown(model: Model, *, omit: frozenset[str] = frozenset()) -> dict[str, object]:
    """Return a model as JSON; what an answer has only sometimes (`omit`) is left out while it is
    null.
    """
    values = model.model_dump(mode="json", by_alias=True)
    return {name: value for name, value in values.items() if value is not None or name not in omit}
