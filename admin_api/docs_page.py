"""The page at /docs: the OpenAPI document as plain HTML. One file, no script, nothing from
elsewhere.
"""

from collections.abc import Sequence
from html import escape

from admin_api.openapi import Json
from admin_api.routes import Access, Route

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:#1b1b1b}
h2{border-top:1px solid #ddd;padding-top:1rem;font-size:1.1rem}
code{background:#f3f3f3;padding:.1em .3em}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #eee;padding:.25rem .5rem;
text-align:left;vertical-align:top}small{color:#555}nav a{display:inline-block;margin-right:1rem}
@media(prefers-color-scheme:dark){body{background:#161616;color:#eee}code{background:#2a2a2a}
small{color:#aaa}td,th{border-color:#333}a{color:#8ab4f8}}
"""
_INTRODUCTION = """
<p>JSON in and out. Send the token as <code>X-API-Token</code> or
<code>Authorization: Bearer</code>:
the admin token, or a tenant's API key, which reaches that tenant only. Errors are
<code>{"detail": …}</code>. Times are Unix seconds. Machines read
<a href="/openapi.json">/openapi.json</a>.</p>
"""


def page(routes: Sequence[Route], document: Json) -> str:
    """Return the page for these routes, which `document` describes."""
    schemas = document["components"]["schemas"]
    sections = "".join(_section(r, document["paths"][r.path][r.method.lower()]) for r in routes)
    models = "".join(_model(name, schema) for name, schema in schemas.items())
    links = "".join(f'<a href="#{_anchor(r)}">{r.method} {escape(r.path)}</a> ' for r in routes)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Pillarbox REST API</title>'
        f"<style>{_STYLE}</style><h1>Pillarbox REST API</h1>{_INTRODUCTION}"
        f"<nav>{links}</nav>{sections}<h1>Objects</h1>{models}</html>"
    )


def _section(route: Route, operation: Json) -> str:
    rows = "".join(
        f"<tr><td><code>{status}</code><td>{escape(value['description'])}"
        for status, value in operation["responses"].items()
    )
    token = "no token" if route.access is Access.OPEN else f"token: {route.access.value}"
    return (
        f'<h2 id="{_anchor(route)}"><code>{route.method} {escape(route.path)}</code></h2>'
        f"<p>{escape(route.summary)}. <small>{token}</small></p>"
        f"<p>{escape(route.description)}</p>"
        f"{_query(operation['parameters'])}{_models(route)}"
        f"<table><tr><th>Answer<th>{rows}</table>"
    )


def _query(parameters: Sequence[Json]) -> str:
    rows = "".join(_row(p["name"], p["schema"], is_required=p["required"]) for p in parameters)
    return f"<table><tr><th>Parameter<th>Type<th>{rows}</table>" if rows else ""


def _models(route: Route) -> str:
    links = [
        f'{label}: <a href="#{model.__name__}">{model.__name__}</a>'
        for label, model in (("Body", route.body), ("Answer", route.answer))
        if model
    ]
    return f"<p>{' · '.join(links)}</p>" if links else ""


def _model(name: str, schema: Json) -> str:
    required = schema.get("required", ())
    rows = "".join(
        _row(field, value, is_required=field in required)
        for field, value in schema.get("properties", {}).items()
    )
    about = escape(schema.get("description", ""))
    return f'<h2 id="{name}">{name}</h2><p>{about}</p><table>{rows}</table>'


def _row(name: str, schema: Json, *, is_required: bool) -> str:
    star = "*" if is_required else ""
    about = escape(schema.get("description", ""))
    default = schema.get("default")
    shown = "" if default is None else f" <small>default {escape(str(default))}</small>"
    return f"<tr><td><code>{escape(name)}</code>{star}<td>{_type(schema)}<td>{about}{shown}"


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(choice) for choice in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if "enum" in schema:
        return escape(", ".join(map(str, schema["enum"])))
    return escape(str(schema.get("type", schema.get("const", "any"))))


def _anchor(route: Route) -> str:
    return route.handler.__name__
