"""`pillarbox demo`: the main job on this machine, with nothing to set up.

A node in a temporary folder with a tenant, a login and a `capture` account, which delivers nowhere
and keeps the mail for looking at. One mail goes in by SMTP, one by REST; both are shown with what
happened to them.
"""

import asyncio
import smtplib
import socket
import ssl
import tempfile
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import click
import httpx
import uvloop
from rich.console import Console
from rich.table import Table

from cli.running import RunningNode, running, until_told_to_stop
from relay import maillog
from relay.config import Config, Listen, ensure_secrets
from relay.errors import RelayError

DELIVERED_WITHIN_S = 15.0
LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo made: where to reach it, and the two secrets that were shown once."""

    http_url: str
    smtp_host: str
    smtp_port: int
    username: str
    password: str
    api_key: str


@click.command(short_help="Try it: a relay on this machine that delivers nowhere.")
@click.option("--smtp-port", type=click.IntRange(0, 65535), help="Default 2525, or a free one.")
@click.option("--http-port", type=click.IntRange(0, 65535), help="Default 8000, or a free one.")
@click.option("--once", is_flag=True, help="Show the two mails and end.")
def demo(smtp_port: int | None, http_port: int | None, once: bool) -> None:
    """Start a relay with an embedded database in a temporary folder and send two mails through it.

    It keeps running until Ctrl-C, so that you can send more; then everything is removed.
    """
    maillog.configure("text", "warning")
    with tempfile.TemporaryDirectory(prefix="pillarbox-demo-") as folder:
        config = Config.load(
            home=Path(folder),
            name="demo",
            environ={},
            overrides={
                "smtp.listen": str(Listen("127.0.0.1", port_or_free(smtp_port, 2525))),
                "http.listen": str(Listen("127.0.0.1", port_or_free(http_port, 8000))),
                "dispatch.drain_s": 5,
            },
        )
        uvloop.run(show(ensure_secrets(config), once=once))


def port_or_free(given: int | None, usual: int) -> int:
    """Return the port that was asked for, else the usual one where it is free, else any (0)."""
    if given is not None:
        return given
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", usual))
        except OSError:
            return 0
    return usual


async def show(config: Config, *, once: bool) -> None:
    console = Console()
    async with running(config) as node:
        token = config.http.api_token
        # A context of our own: httpx would read the certificates of the whole world.
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        async with httpx.AsyncClient(
            base_url=node.http_url, verify=tls, trust_env=False, timeout=10
        ) as client:
            made = await set_up(client, token.get_secret_value() if token else "", node)
            client.headers["Authorization"] = f"Bearer {made.api_key}"
            await asyncio.to_thread(send_by_smtp, made)
            await send_by_rest(client)
            told = await tell_of_both(client, console)
            console.print(how_to_go_on(made), highlight=False, soft_wrap=True)
            if not once:
                watch = asyncio.create_task(tell_of_more(client, console, told))
                await until_told_to_stop(node.node)
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)


async def set_up(client: httpx.AsyncClient, token: str, node: RunningNode) -> Demo:
    """Make the tenant, its account and its login through REST, as anybody would."""
    client.headers["X-API-Token"] = token
    tenant = await post(client, "/tenant", {"id": "demo", "name": "Demo"})
    account = {
        "tenant_id": "demo",
        "id": "capture",
        "host": "localhost",
        "port": 25,
        "kind": "capture",
    }
    await post(client, "/account", account)
    login = await post(client, "/credential", {"tenant_id": "demo", "username": "demo"})
    del client.headers["X-API-Token"]
    _, host, port = node.node.smtp.addresses[0]
    return Demo(
        node.http_url,
        host,
        port,
        str(login["username"]),
        str(login["password"]),
        str(tenant["api_key"]),
    )


async def post(client: httpx.AsyncClient, path: str, body: object) -> dict[str, object]:
    answer = await client.post(path, json=body)
    if answer.status_code != httpx.codes.OK:
        raise RelayError(f"POST {path}: {answer.status_code} {answer.text}")
    result: dict[str, object] = answer.json()
    return result


def send_by_smtp(made: Demo) -> None:
    mail = EmailMessage()
    mail["From"] = "app@demo.example"
    mail["To"] = "bob@example.org"
    mail["Subject"] = "Sent by SMTP"
    mail.set_content("Hello Bob,\nthis came by SMTP.\n")
    with smtplib.SMTP(made.smtp_host, made.smtp_port, timeout=10) as smtp:
        smtp.login(made.username, made.password)
        smtp.send_message(mail)


async def send_by_rest(client: httpx.AsyncClient) -> None:
    message = {
        "id": "demo-1",
        "from": "app@demo.example",
        "to": ["carol@example.org"],
        "subject": "Sent by REST",
        "body": "Hello Carol,\nthis came by REST.\n",
    }
    await post(client, "/commands/add-messages", {"messages": [message]})


async def tell_of_both(client: httpx.AsyncClient, console: Console) -> set[str]:
    """Wait until both are delivered, then show each with its story; return their pks."""
    async with asyncio.timeout(DELIVERED_WITHIN_S):
        while True:
            messages = await listed(client)
            if len(messages) == 2 and all(m["status"] == "sent" for m in messages):
                break
            await asyncio.sleep(0.05)
    for message in messages:
        await tell_of(client, console, str(message["id"]))
    return {str(message["pk"]) for message in messages}


async def tell_of_more(client: httpx.AsyncClient, console: Console, told: set[str]) -> None:
    """Show each further mail once it is delivered."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        for message in await listed(client):
            if message["status"] == "sent" and str(message["pk"]) not in told:
                told.add(str(message["pk"]))
                await tell_of(client, console, str(message["id"]))


async def listed(client: httpx.AsyncClient) -> list[dict[str, object]]:
    answer = await client.get("/messages", params={"tenant_id": "demo"})
    answer.raise_for_status()
    messages: list[dict[str, object]] = answer.json()["messages"]
    return messages


async def tell_of(client: httpx.AsyncClient, console: Console, message_id: str) -> None:
    """Print one message: what it is, and each event with its time since acceptance."""
    answer = await client.get(f"/messages/{message_id}", params={"tenant_id": "demo"})
    answer.raise_for_status()
    record = answer.json()
    recipients = ", ".join(r["address"] for r in record["recipients"])
    title = f"{record['message']['subject']}: {record['status']} to {recipients}"
    table = Table(title=title, title_justify="left", title_style="bold", show_edge=False)
    for column in ("after", "event", "what happened"):
        table.add_column(column)
    first = record["events"][0]["ts"]
    for event in record["events"]:
        data = event["data"]
        what = (
            data.get("reply") or f"by {data.get('ingress', '').upper()}, stored as {record['pk']}"
        )
        table.add_row(f"{(event['ts'] - first) * 1000:.0f} ms", event["event"], str(what))
    console.print(table)
    console.print()


def how_to_go_on(made: Demo) -> str:
    server = f"{made.smtp_host}:{made.smtp_port}"
    token = f"-H 'Authorization: Bearer {made.api_key}'"
    message = (
        '{"id": "demo-2", "from": "app@demo.example", "to": "you@example.org", '
        '"subject": "Hello", "body": "By REST"}'
    )
    return f"""[bold]Send the next one[/bold]: it is kept and shown here, and goes nowhere.

swaks --server {server} --auth PLAIN --auth-user {made.username} \\
  --auth-password {made.password} \\
  --from app@demo.example --to you@example.org

curl -s {made.http_url}/commands/add-messages \\
  {token} \\
  -H 'Content-Type: application/json' -d '{{"messages": [{message}]}}'

python3 -c 'import smtplib
with smtplib.SMTP("{made.smtp_host}", {made.smtp_port}) as s:
    s.login("{made.username}", "{made.password}")
    s.sendmail("app@demo.example", "you@example.org", "Subject: Hello\\n\\nBy Python\\n")'

curl -s '{made.http_url}/messages?tenant_id=demo' \\
  {token}

REST is described at {made.http_url}/docs. Ctrl-C ends the demo and removes everything.
"""
