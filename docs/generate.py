"""The reference pages that are made from the code: `python -m docs.generate` writes them.

Settings come from the tree of settings, metrics from a node's registry, routes from the tables
that serve them, commands from what answers `--help`. The pages are committed, so that they can be
read where they lie; a test fails when one differs from what is made here.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from admin_api import openapi
from admin_api.app import ROUTES
from admin_api.routes import Route
from cli.grammar import INSTANCE, ROOT, TENANT
from cli.menu import Entry
from relay.config import SETTINGS, Setting
from relay.config.settings import ruled_name
from relay.metrics import Metrics

Schema = Mapping[str, Any]
Schemas = Mapping[str, Schema]

FOLDER = Path(__file__).parent / "reference"
REFERENCE = re.compile(r'"#/components/schemas/(\w+)"')
NESTED_AT_MOST = 3
NOTICE = "<!-- Made by `python -m docs.generate`: change the code, not this page. -->\n"


def settings_page() -> str:
    parts = [
        "# Settings",
        "A setting comes from a command-line option, else from a variable, else from "
        "`pillarbox.toml` in the instance's folder (`~/.pillarbox/default/` for `pillarbox serve`),"
        " else it has its default. Each mistake is a line that names the key and where it came "
        "from; with one, nothing starts and the exit code is 78.",
        "The variable of `key` in `[section]` is `PILLARBOX_SECTION_KEY`, unless another is named "
        "here. Times are seconds, sizes bytes; a variable has lists with commas. An empty value is "
        "as none. A secret can be in a file: the same variable with `_FILE` at its end. "
        "`pillarbox NAME config show` says what is in effect, and why.",
        "`PILLARBOX_HOME` (default `~/.pillarbox`) is where instances live; it has no key.",
    ]
    for section, group in groupby(SETTINGS, key=lambda s: s.toml_key.rpartition(".")[0]):
        parts.append(f"## [{section}]" if section else "## At the top")
        parts.append("\n".join(settings_rows(group)))
    return page(parts)


def settings_rows(settings: Iterable[Setting]) -> Iterator[str]:
    yield "| key | default | |"
    yield "|---|---|---|"
    for setting in settings:
        key = setting.toml_key.rpartition(".")[2]
        names = ", ".join(f"`{name}`" for name in setting.env_names)
        other = setting.env_names[0] != ruled_name(setting.toml_key)
        doc = cell(setting.doc) + (f" Variables: {names}." if other else "")
        yield f"| `{key}` | {default_of(setting)} | {doc} |"


def default_of(setting: Setting) -> str:
    value = setting.default
    if value is None or value == () or value == {}:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple | list):
        return f"`{', '.join(str(each) for each in value)}`"
    return f"`{value}`"


def metrics_page() -> str:
    rows = ["| metric | type | labels | |", "|---|---|---|---|"]
    for metric in Metrics().describe():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {cell(metric.doc)} |")
    return page(
        [
            "# Metrics",
            "`GET /metrics` gives them to Prometheus, without a token unless `http.metrics_token` "
            "is set. `pillarbox_queue_*` and `pillarbox_callback_backlog` are read from the "
            "database, so that each node tells of all of it: take the `max` over nodes, not the "
            "`sum`. No label is an address.",
            "\n".join(rows),
            '`compat = "genro"` adds `gmp_sent_total`, `gmp_errors_total`, `gmp_deferred_total` '
            "and `gmp_rate_limited_total` (labels `tenant_id`, `tenant_name`, `account_id`, "
            "`account_name`) and `gmp_pending_messages`.",
        ]
    )


def rest_page() -> str:
    document = openapi.document(ROUTES, version("pillarbox"))
    schemas: Schemas = document["components"]["schemas"]
    parts = [
        "# REST",
        "JSON in and out. The token goes in `X-API-Token: …` or `Authorization: Bearer …`: the "
        "admin token, or a tenant's API key, which reaches that tenant only and may leave "
        "`tenant_id` out. Times are Unix seconds; what has a star is required. Failures are "
        '`{"detail": …}`; unknown fields of a body are ignored and named in `warnings`. A running '
        "relay describes the same at `/docs`, with every answer, and for machines at "
        "`/openapi.json`.",
    ]
    parts += [route_section(route) for route in ROUTES]
    parts += [object_section(name, schemas) for name in taken(schemas)]
    return page(parts)


def taken(schemas: Schemas) -> list[str]:
    """Return the objects that a body is or holds, in the order of the document."""
    found = {route.body.__name__ for route in ROUTES if route.body}
    found |= {"Message"} & schemas.keys()
    for _ in range(NESTED_AT_MOST):
        found |= {n for name in found for n in REFERENCE.findall(json.dumps(schemas[name]))}
    return [name for name in schemas if name in found and "properties" in schemas[name]]


def route_section(route: Route) -> str:
    lines = [
        f"## {route.method} {route.path}",
        "",
        f"{route.summary}. Token: {route.access.value}.",
    ]
    if route.description:
        lines += ["", route.description]
    if route.query:
        schema = route.query.model_json_schema(by_alias=True)
        lines += ["", *fields_rows("parameter", schema, schema.get("$defs", {}))]
    if route.body:
        name = route.body.__name__
        lines += ["", f"Body: [{name}](#{name.lower()})."]
    return "\n".join(lines)


def object_section(name: str, schemas: Schemas) -> str:
    about = str(schemas[name].get("description", ""))
    return "\n".join([f"## {name}", "", about, "", *fields_rows("field", schemas[name], schemas)])


def fields_rows(title: str, schema: Schema, schemas: Schemas) -> Iterator[str]:
    yield f"| {title} | type | |"
    yield "|---|---|---|"
    required = schema.get("required", ())
    for name, value in schema.get("properties", {}).items():
        star = " *" if name in required else ""
        about = cell(str(value.get("description", "")))
        yield f"| `{name}`{star} | {type_of(value, schemas)} | {about} |"


def type_of(schema: Schema, schemas: Schemas) -> str:
    """Say what a value is, in a word or two; null is left out."""
    if "anyOf" in schema:
        choices = [choice for choice in schema["anyOf"] if choice.get("type") != "null"]
        return " or ".join(dict.fromkeys(type_of(choice, schemas) for choice in choices))
    if "$ref" in schema:
        return named(schema["$ref"].rpartition("/")[2], schemas)
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "items" in schema:
        return f"list of {type_of(schema['items'], schemas)}"
    return str(schema.get("type", schema.get("const", "any")))


def named(name: str, schemas: Schemas) -> str:
    """Say what an object is called; of a choice, what can be chosen."""
    schema = schemas[name]
    return f"[{name}](#{name.lower()})" if "properties" in schema else type_of(schema, schemas)


def commands_page() -> str:
    parts = [
        "# Command line",
        "NAME is an instance, TENANT one of its tenants. A command works on an instance that runs, "
        "by its local socket, and on one that does not, on its database. What is missing is asked "
        "for on a terminal, and is an error elsewhere; secrets are asked for or read from a file "
        "or standard input. `--help` is understood everywhere, and `--json` by what lists or "
        "shows.",
        "It exits with 0 (done), 1 (failed), 2 (not understood), or a code of `sysexits.h`: 69 "
        "does not run, 75 try again later, 77 not allowed, 78 a setting is wrong.",
    ]
    for title, words, entries in (
        ("pillarbox", ("pillarbox",), ROOT),
        ("pillarbox NAME", ("pillarbox", "NAME"), INSTANCE),
        ("pillarbox NAME TENANT", ("pillarbox", "NAME", "TENANT"), TENANT),
    ):
        parts.append(f"## {title}")
        parts += commands(words, entries)
    return page(parts)


def commands(words: tuple[str, ...], entries: Mapping[str, Entry]) -> Iterator[str]:
    for name, entry in entries.items():
        yield from helped((*words, name), entry.load())


def helped(words: tuple[str, ...], command: click.Command) -> Iterator[str]:
    """Give the section of a command, and of those below it."""
    # --help is everywhere; how a command calls it depends on who asked it first.
    helpless = copy(command)
    helpless.add_help_option = False
    context = click.Context(helpless, info_name=" ".join(words), max_content_width=90)
    yield f"### {' '.join(words[1:])}\n\n```text\n{helpless.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from helped((*words, name), below)


def page(parts: Iterable[str]) -> str:
    return NOTICE + "\n" + "\n\n".join(part.strip() for part in parts) + "\n"


def cell(text: str) -> str:
    """Fit a text into a table; `<` is markup outside of code."""
    line = " ".join(text.split()).replace("|", "\\|")
    return re.sub(r"(`[^`]*`)|<", lambda found: found[1] or "&lt;", line)


PAGES: Mapping[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "cli.md": commands_page,
    "rest.md": rest_page,
    "metrics.md": metrics_page,
}


def main() -> None:
    """Write every page anew."""
    FOLDER.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
