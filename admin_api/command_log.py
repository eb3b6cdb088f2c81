"""GET /command-log: who did what through the API. What was in a request is not kept."""

from collections.abc import AsyncIterator, Sequence
from functools import cache

from admin_api import cursors, strict_json
from admin_api.problems import Answer
from admin_api.routes import Access, Call, Route, Stream, shown
from admin_api.schemas.command_log import CommandOutput, CommandQuery, Commands, CommandSelection
from admin_api.schemas.model import Model
from admin_api.services import Services
from relay.store.command_log import Command, CommandFilter

PAGE_COMMANDS = 500
# A longer body is not read again for the sake of the log.
MOST_BYTES_READ = 16_384
_SOMETIMES = frozenset({"next_cursor", "warnings"})


async def list_commands(services: Services, call: Call) -> Answer | Stream:
    query = call.read_query(CommandQuery)
    after = cursors.decode(query.cursor)
    await services.command_log.flush()
    if query.limit is None:
        return Stream(listed(pages(services, query, after)))
    found = await services.command_log.page(filter_of(query), after, query.limit + 1)
    page = found[: query.limit]
    following = cursors.encode(page[-1].pk) if len(found) > len(page) else None
    answer = Commands(commands=[output_of(c) for c in page], next_cursor=following)
    return Answer(shown(answer, omit=_SOMETIMES))


async def export_commands(services: Services, call: Call) -> Stream:
    query = call.read_query(CommandSelection)
    await services.command_log.flush()
    return Stream(exported(pages(services, query, "")), content_type="application/x-ndjson")


async def pages(
    services: Services, query: CommandSelection, after: str
) -> AsyncIterator[Sequence[Command]]:
    wanted = filter_of(query)
    while commands := await services.command_log.page(wanted, after, PAGE_COMMANDS):
        yield commands
        after = commands[-1].pk


async def listed(source: AsyncIterator[Sequence[Command]]) -> AsyncIterator[bytes]:
    yield b'{"ok":true,"commands":['
    separator = ""
    async for commands in source:
        yield (separator + ",".join(text_of(c) for c in commands)).encode()
        separator = ","
    yield b"]}"


async def exported(source: AsyncIterator[Sequence[Command]]) -> AsyncIterator[bytes]:
    async for commands in source:
        yield "".join(text_of(c) + "\n" for c in commands).encode()


def text_of(command: Command) -> str:
    return strict_json.dumps(shown(output_of(command)))


def output_of(command: Command) -> CommandOutput:
    return CommandOutput.model_construct(
        id=command.pk,
        ts=command.at,
        caller=command.caller,
        tenant_id=command.tenant_id,
        method=command.method,
        route=command.route,
        target=command.target,
        status=command.status,
    )


def filter_of(query: CommandSelection) -> CommandFilter:
    return CommandFilter(
        query.tenant_id, query.caller, query.method, query.route, query.since, query.until
    )


def noted(route: Route, call: Call, status: int, now: float) -> Command:
    """Describe a call for the log."""
    return Command(
        now,
        "admin" if call.caller.is_admin else "tenant",
        call.caller.tenant_id or plain(tenant_named(route, call), 64),
        route.method,
        route.path,
        plain(next(iter(call.path.values()), None), 255),
        status,
    )


def tenant_named(route: Route, call: Call) -> object:
    """Return the tenant that the admin named: in the path, the query or the body."""
    if route.path.startswith("/tenant/"):
        return call.path["id"]
    if "tenant_id" in call.query:
        return call.query["tenant_id"][0]
    name = "id" if route.path == "/tenant" else "tenant_id"
    if route.body is None or not has_field(route.body, name) or len(call.body) > MOST_BYTES_READ:
        return None
    return in_body(call.body, name)


@cache
def has_field(model: type[Model], name: str) -> bool:
    return name in model.model_fields


def plain(value: object, most_chars: int) -> str | None:
    """Return what a client gave if it is fit for a log."""
    is_plain = isinstance(value, str) and value.isprintable() and len(value) <= most_chars
    return value if is_plain and isinstance(value, str) else None


def in_body(body: bytes, name: str) -> object:
    try:
        value = strict_json.loads(body)
    except strict_json.InvalidJson:
        return None
    return value.get(name) if isinstance(value, dict) else None


ROUTES = (
    Route(
        "GET",
        "/command-log",
        list_commands,
        Access.ADMIN,
        "List what was done through the API, oldest first; without a limit, all of it",
        description="Every call that changes something is logged, with its caller, route and"
        " status; never its body or a secret. Calls whose token is wrong are not: the"
        " node's own log has them, and `/metrics` counts them.",
        answer=Commands,
        query=CommandQuery,
    ),
    Route(
        "GET",
        "/command-log/export",
        export_commands,
        Access.ADMIN,
        "The same as JSON lines",
        query=CommandSelection,
        answer_type="application/x-ndjson",
    ),
)
