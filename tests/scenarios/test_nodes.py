"""What a node that died had is sent by another. Under load: tests/faults/nodes.py, limits.py."""

from pathlib import Path

from tests.fakes.upstream import FakeUpstream
from tests.process import ServeProcess
from tests.scenarios.test_crash import drained, message, prepare


async def test_the_mail_of_a_node_that_died_is_sent_by_the_other(
    postgres_dsn: str, tmp_path: Path
) -> None:
    lease = {"PILLARBOX_DISPATCH_LEASE_S": "2"}
    async with (
        FakeUpstream(hang_at="DATA") as upstream,
        ServeProcess(tmp_path / "one", postgres_dsn, **lease) as one,
        ServeProcess(tmp_path / "two", postgres_dsn, **lease) as two,
    ):
        await prepare(one, upstream)
        for n in range(10):
            await one.post("/commands/add-messages", {"messages": [message(n)]})
        await upstream.wait_for_command("DATA")
        await one.kill()
        upstream.on["DATA"] = None
        await upstream.wait_for(10, 20)
        await drained(two)
        assert len({m.recipients for m in upstream.received}) == 10
