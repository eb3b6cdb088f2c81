"""Fill a database by genro-mail-proxy itself; the dumps beside this file were made so.

    python make.py URL          # a SQLite path or postgresql://…

It is run where that package is: 0.6.10 as pip installs it, 0.7.0 from its source archive with `src`
on PYTHONPATH. Neither can be imported as PyPI has it: the wheel of 0.7.0 lacks the packages `sql`,
`storage` and `tools`, and 0.6.10 its module for the table `instance`, which is stood in for here
and which the import does not read. The dumps are what `sqlite3 FILE .dump` and `pg_dump --inserts
--no-owner --no-privileges` say, without comments and SETs.
"""

import asyncio
import os
import secrets
import sys
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

# 43 characters that are the same each time.
KEYS = {name: f"{name}-".ljust(43, "0") for name in ("acme", "rival")}
ENCRYPTION_KEY = "a2V5LWtleS1rZXkta2V5LWtleS1rZXkta2V5LWtleSE="

TENANTS: list[dict[str, Any]] = [
    {
        "id": "acme",
        "name": "Acme",
        "client_base_url": "https://app.acme.test",
        "client_sync_path": "/reports",
        "client_auth": {"method": "bearer", "token": "callback-token"},
        "rate_limits": {"hourly": 100, "daily": 0},
        "large_file_config": {
            "enabled": True,
            "max_size_mb": 5.0,
            "storage_url": "s3://bucket/mail",
            "lifespan_after_download_days": 3,
            "action": "rewrite",
        },
    },
    {"id": "rival", "name": None, "active": False},
]
ACCOUNTS: list[dict[str, Any]] = [
    {
        "id": "main",
        "tenant_id": "acme",
        "host": "smtp.acme.test",
        "port": 587,
        "user": "acme",
        "password": "smtp-password",
        "use_tls": True,
        "limit_per_hour": 50,
        "limit_per_minute": 0,
        "limit_behavior": "reject",
        "batch_size": 10,
    },
    {
        "id": "pec",
        "tenant_id": "acme",
        "host": "smtp.pec.test",
        "port": 465,
        "user": "pec",
        "password": "pec-password",
        "is_pec_account": True,
        "imap_host": "imap.pec.test",
        "imap_password": "imap-password",
    },
    {"id": "main", "tenant_id": "rival", "host": "127.0.0.1", "port": 25, "use_tls": False},
]


def message(mail_id: str, tenant_id: str = "acme", **changes: Any) -> dict[str, Any]:
    """Make a message, with its payload as their API stores it."""
    payload = {
        "id": mail_id,
        "tenant_id": tenant_id,
        "account_id": "main",
        "from": f"App <app@{tenant_id}.test>",
        "to": ["bob@there.test"],
        "subject": f"Message {mail_id}",
        "body": f"This is {mail_id}.",
        "priority": 2,
        **changes,
    }
    names = ("id", "tenant_id", "account_id", "priority", "deferred_ts", "batch_code")
    return {"payload": payload, **{name: payload.get(name) for name in names}}


MESSAGES = [
    message("plain"),
    message("urgent", priority=0, content_type="html", body="<p>Now</p>", cc=["eve@there.test"]),
    message(
        "later", deferred_ts=2_000_000_000, headers={"X-Campaign": "7"}, reply_to="a@acme.test"
    ),
    message("spring-1", batch_code="spring", priority=3, bcc="hidden@there.test"),
    message("certified", account_id="pec", retry_count=2),
    message("orphan", account_id="gone"),
    message("broken", to=["not an address"]),
    message("sent"),
    message("failed"),
    message("theirs", "rival"),
]


async def database(url: str) -> Any:
    """Open their database, of whichever version it is."""
    try:
        base = import_module("core.mail_proxy.proxy_base")
    except ModuleNotFoundError:
        return await old_database(url)
    config = import_module("core.mail_proxy.proxy_config")
    proxy = base.MailProxyBase(config.ProxyConfig(db_path=url))
    # On PostgreSQL it fails to make a new database: accounts before the tenants they refer to.
    await proxy.db.connect()
    await proxy.db.table("tenants").create_schema()
    await proxy.init()
    return proxy.db


async def old_database(url: str) -> Any:
    sql = import_module("mail_proxy.sql")
    members = {
        "name": "instance",
        "configure": lambda table: table.columns.column("id", sql.String, primary_key=True),
    }
    for name in ("mail_proxy.entities.instance", "mail_proxy.entities.instance.table"):
        sys.modules[name] = ModuleType(name)
    sys.modules[name].__dict__["InstanceTable"] = type("InstanceTable", (sql.Table,), members)
    db = import_module("mail_proxy.mailproxy_db").MailProxyDb(url)
    await db.init_db()
    return db


async def fill(url: str) -> None:
    db = await database(url)
    tenants, accounts, messages = (db.table(n) for n in ("tenants", "accounts", "messages"))
    for tenant in TENANTS:
        vars(secrets)["token_urlsafe"] = partial(KEYS.get, tenant["id"])
        await tenants.add(dict(tenant))
    for account in ACCOUNTS:
        await accounts.add(dict(account))
    added = await messages.insert_batch(MESSAGES, pec_account_ids={"pec"})
    pks = {each["id"]: each["pk"] for each in added}
    await messages.mark_sent(pks["sent"], 1_790_000_000)
    await messages.mark_error(pks["failed"], 1_790_000_000)
    events = db.table("message_events")
    await events.add_event(pks["sent"], "sent", 1_790_000_000)
    await events.add_event(pks["failed"], "error", 1_790_000_000, "550 no such user")
    await tenants.suspend_batch("acme", "spring")
    await db.close()


os.environ["MAIL_PROXY_ENCRYPTION_KEY"] = ENCRYPTION_KEY
asyncio.run(fill(sys.argv[1]))
