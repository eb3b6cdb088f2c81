"""Calls the tenants that have something to hear: each in a task of its own, so none waits for
another.

A tenant is called when events wait for it, when its heartbeat is due, or at once when asked
(`run_now`). Overall as many are called at a time as the settings say; those whose last call failed
share half of that, so however many dead URLs there are, the others have their half.

Correctness depends on no wake-up: whatever is due is found by looking.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from relay import maillog
from relay.errors import Fenced, RelayError, Temporary
from relay.metrics import Metrics
from relay.reports.answer import Verdict, backoff_s, judge, receipt
from relay.reports.entries import report
from relay.reports.post import Caller, call_id
from relay.store.directory import Directory
from relay.store.events import StoredEvent
from relay.store.outbox import Conclusion, DueTenant, Outbox, Receipt, Turn
from relay.store.spool import Spool

AGAIN_S = 5.0
FOLLOW_UP_S = 0.1
DUE_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class ReportSettings:
    interval_s: float
    poll_s: float
    max_events: int
    max_bytes: int
    max_calls: int
    concurrency: int
    retry_waits_s: tuple[float, ...]
    give_up_s: float


@dataclass(frozen=True, slots=True)
class Told:
    """One call: the events that were in it, and what the client said."""

    events: tuple[StoredEvent, ...]
    verdict: Verdict


class Reporter:
    def __init__(
        self,
        spool: Spool,
        outbox: Outbox,
        directory: Directory,
        caller: Caller,
        metrics: Metrics,
        settings: ReportSettings,
    ) -> None:
        self._spool = spool
        self._outbox = outbox
        self._directory = directory
        self._caller = caller
        self._metrics = metrics
        self._settings = settings
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._failing: set[str] = set()
        self._asked: set[str | None] = set()
        self._left_out = False
        self._wakened = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self, budget_s: float) -> None:
        """Begin no more calls, let those under way end inside the budget; the rest is told again
        later.
        """
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        calls = list(self._busy.values())
        if calls:
            await asyncio.wait(calls, timeout=budget_s)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await self._caller.close()

    def run_now(self, tenant_id: str | None) -> None:
        """Call a tenant at once, or all of them (None)."""
        self._asked.add(tenant_id)
        self._wakened.set()

    async def _run(self) -> None:
        in_trouble = False
        while True:
            try:
                await self._look()
                in_trouble = False
            except RelayError as error:
                if not in_trouble:
                    maillog.store_trouble(error)
                in_trouble = True
            except Exception as error:  # noqa: BLE001 - this loop must live
                maillog.unexpected("reports", error)
            await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._settings.poll_s):
                await self._wakened.wait()
        except TimeoutError:
            return
        self._wakened.clear()

    async def _look(self) -> None:
        """Begin to call who is to be called now."""
        for tenant_id in list(self._asked):
            await self._outbox.make_due(tenant_id)
            self._asked.discard(tenant_id)
        due = await self._outbox.due(self._spool.epoch, self._spool.now(), DUE_AT_ONCE)
        self._left_out = False
        for tenant in due:
            if tenant.tenant_id in self._busy:
                continue
            if self._has_room(tenant):
                self._begin(tenant)
            else:
                self._left_out = True

    def _has_room(self, tenant: DueTenant) -> bool:
        most = self._settings.concurrency
        if tenant.failures and len(self._failing) >= max(1, most // 2):
            return False
        return len(self._busy) < most

    def _begin(self, tenant: DueTenant) -> None:
        tenant_id = tenant.tenant_id
        if tenant.failures:
            self._failing.add(tenant_id)
        self._busy[tenant_id] = asyncio.create_task(self._guarded(tenant_id))

    async def _guarded(self, tenant_id: str) -> None:
        """Run one turn; what goes wrong with it is this tenant's alone, and it rests a while."""
        try:
            await self._turn(tenant_id)
        except Fenced:
            maillog.report_fenced(tenant_id)
        except RelayError as error:
            maillog.store_trouble(error)
            await asyncio.sleep(AGAIN_S)
        except Exception as error:  # noqa: BLE001 - a fault with one tenant must not silence the others
            maillog.unexpected("report", error)
            await asyncio.sleep(AGAIN_S)
        finally:
            del self._busy[tenant_id]
            self._failing.discard(tenant_id)
            if self._left_out:
                self._wakened.set()

    async def _turn(self, tenant_id: str) -> None:
        now = self._spool.now()
        turn = await self._outbox.take(
            tenant_id,
            self._spool.epoch,
            now,
            beat_at=self._next_beat(now),
            most=self._settings.max_events,
        )
        if turn is not None:
            await self._tell(turn)

    async def _tell(self, turn: Turn) -> None:
        """Call until there is nothing more to say, or it is enough for once."""
        events, failures, failing_since = turn.events, turn.failures, turn.failing_since
        has_held = False
        for calls_left in reversed(range(self._settings.max_calls)):
            told = await self._call_guarded(turn, events)
            if told.verdict.fault:
                await self._put_off(turn, told, failures, failing_since)
                return
            failures, failing_since = 0, None
            taken = self._receipt(turn, told)
            has_held = has_held or bool(taken.held)
            has_more = len(told.events) < len(events) or len(events) == turn.most
            if not (calls_left and (has_more or told.verdict.is_queued)):
                await self._conclude(turn, taken, told.verdict, has_held=has_held)
                return
            events = await self._outbox.acknowledge(turn, taken)
            if not events and not told.verdict.is_queued:
                await self._conclude(turn, Receipt(taken.at), told.verdict, has_held=has_held)
                return
            if not events:
                await asyncio.sleep(FOLLOW_UP_S)

    def _receipt(self, turn: Turn, told: Told) -> Receipt:
        now, give_up_s = self._spool.now(), self._settings.give_up_s
        taken = receipt(told.events, told.verdict.refused, now, give_up_s)
        self._tell_parked(turn, len(taken.parked))
        return taken

    async def _call_guarded(self, turn: Turn, events: Sequence[StoredEvent]) -> Told:
        """Call the client once; a fault of our own is put off like one of the client's."""
        try:
            return await self._call(turn, events)
        except Temporary:
            raise
        except Exception as error:  # noqa: BLE001 - what fails again and again must not be tried without a pause
            maillog.unexpected("report", error)
            return Told(
                tuple(events), Verdict(fault=f"a fault inside the relay: {type(error).__name__}")
            )

    async def _call(self, turn: Turn, events: Sequence[StoredEvent]) -> Told:
        """Call the client once. What no longer has anybody to be told to is acknowledged."""
        started = time.monotonic()
        tenant = await self._directory.tenant(turn.tenant_id)
        if tenant is None or tenant.client_base_url is None:
            raise Fenced(f"{turn.tenant_id} is not to be called any more")
        body, count = report(events, self._settings.max_bytes)
        told = tuple(events[:count])
        # A node that was frozen must not tell what another tells by now.
        await self._spool.hold(turn.epoch)
        now = self._spool.now()
        name = call_id(turn.tenant_id, [event.event_id for event in told], now)
        verdict = judge(await self._caller.post(tenant, body, name, now), self._spool.now())
        self._metrics.called(turn.tenant_id, is_taken=not verdict.fault)
        if not verdict.fault:
            maillog.reported(
                turn.tenant_id,
                events=len(told),
                refused=sum(event.id in verdict.refused for event in told),
                not_found=verdict.not_found,
                is_queued=verdict.is_queued,
                duration_s=time.monotonic() - started,
            )
        return Told(told, verdict)

    async def _conclude(
        self, turn: Turn, taken: Receipt, verdict: Verdict, *, has_held: bool
    ) -> None:
        """End a turn that went well. What was refused is offered again in time, though the client
        asked for rest.
        """
        now = self._spool.now()
        next_beat = self._next_beat(now)
        conclusion = Conclusion(
            beat_at=next_beat if has_held else verdict.quiet_until or next_beat,
            quiet_until=verdict.quiet_until,
            synced_at=now,
        )
        await self._outbox.conclude(turn, taken, conclusion)

    async def _put_off(
        self, turn: Turn, told: Told, failures: int, failing_since: float | None
    ) -> None:
        """Keep what a client did not take; give up what it has not taken for too long."""
        now = self._spool.now()
        since = now if failing_since is None else failing_since
        spread = random.uniform(-1, 1)  # noqa: S311 - spreads load, guards nothing
        wait_s = backoff_s(self._settings.retry_waits_s, failures + 1, spread)
        wait_s = max(wait_s, told.verdict.wait_s)
        oldest_kept = now - self._settings.give_up_s
        conclusion = Conclusion(
            beat_at=now + wait_s,
            hold_until=now + wait_s,
            failures=failures + 1,
            failing_since=since,
        )
        maillog.report_failed(
            turn.tenant_id,
            events=len(told.events),
            reason=told.verdict.fault,
            failures=failures + 1,
            wait_s=wait_s,
        )
        if since <= oldest_kept:
            self._tell_parked(turn, await self._outbox.give_up(turn, oldest_kept))
        await self._outbox.conclude(turn, Receipt(now), conclusion)

    def _tell_parked(self, turn: Turn, events: int) -> None:
        if events:
            maillog.reports_parked(turn.tenant_id, events=events)

    def _next_beat(self, now: float) -> float:
        """Return when a tenant is called though nothing happened: apart from the others, and never
        later than promised.
        """
        return now + self._settings.interval_s * random.uniform(0.9, 1)  # noqa: S311 - as above
