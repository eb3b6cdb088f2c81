"""The rules that the dispatcher follows, as values: when again, by which account, whose turn, how
long a rest.
"""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.dispatch import retry, route
from relay.dispatch.fair import Turns
from relay.dispatch.health import Health
from relay.dispatch.outlet import Outlet
from relay.dispatch.retry import RetryPolicy
from relay.model import (
    Account,
    ContentTraits,
    Delivery,
    OnUnknown,
    Outcome,
    Pending,
    State,
    Verdict,
    lane_of,
    new_pk,
)
from relay.store.queue.settle import Resolution

DAY_S = 86_400.0
POLICY = RetryPolicy((60, 300, 900, 3600, 7200), 0.2, 5 * DAY_S)


def delivery(**changes: object) -> Delivery:
    plain = Delivery(
        epoch=1,
        pk="p",
        id="i",
        tenant_id="acme",
        account_id="main",
        lane="acme/main",
        priority=2,
        sender="a@acme.test",
        pending=(Pending(0, "x@t.test"),),
        traits=ContentTraits(),
        size_bytes=10,
        accepted_at=1000.0,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def outcome(verdict: Verdict, code: int = 0) -> Outcome:
    return Outcome(0, verdict, code, None, "4.2.0 later", "rcpt")


@pytest.mark.parametrize(
    ("attempts", "wait_s"),
    [(1, 60), (2, 300), (3, 900), (4, 3600), (5, 7200), (6, 7200), (40, 7200)],
)
def test_the_wait_grows_to_two_hours_and_stays_there(attempts: int, wait_s: float) -> None:
    assert retry.next_attempt(POLICY, delivery(), attempts, 2000.0, 0) == 2000.0 + wait_s


@given(st.floats(-1, 1), st.integers(1, 50))
def test_a_wait_varies_by_a_fifth_at_most(spread: float, attempts: int) -> None:
    due_at = retry.next_attempt(POLICY, delivery(), attempts, 2000.0, spread)
    middle = POLICY.waits_s[min(attempts, 5) - 1]
    assert due_at is not None
    assert 0.8 * middle <= due_at - 2000.0 <= 1.2 * middle


def test_a_mail_is_given_up_after_five_days_or_its_own_time_or_attempts() -> None:
    late = 1000.0 + 5 * DAY_S - 60
    assert retry.next_attempt(POLICY, delivery(), 5, late, 0) is None
    assert retry.next_attempt(POLICY, delivery(expires_at=1050.0), 1, 1000.0, 0) is None
    assert retry.next_attempt(POLICY, delivery(max_attempts=3), 3, 2000.0, 0) is None
    assert retry.next_attempt(POLICY, delivery(max_attempts=3), 2, 2000.0, 0) is not None


def resolved(mail: Delivery, said: Outcome) -> Resolution:
    [resolution] = retry.resolve(POLICY, mail, [said], 2000.0, 0)
    return resolution


def test_a_refusal_is_final_and_a_delay_is_not() -> None:
    failed = resolved(delivery(), outcome(Verdict.FAILED, 550))
    assert (failed.state, failed.attempts, failed.code) == (State.FAILED, 1, 550)
    deferred = resolved(delivery(), outcome(Verdict.DEFERRED, 450))
    assert (deferred.state, deferred.due_at) == (State.DEFERRED, 2060.0)


def test_a_lost_answer_is_counted_and_asked_again_or_reported() -> None:
    again = resolved(delivery(), outcome(Verdict.UNKNOWN))
    assert (again.state, again.unknowns, again.due_at) == (State.DEFERRED, 1, 2060.0)
    once = delivery(on_unknown=OnUnknown.REPORT)
    told = resolved(once, outcome(Verdict.UNKNOWN))
    assert (told.state, told.unknowns) == (State.FAILED, 1)
    assert "not known" in told.reply


def test_what_a_crash_left_is_due_at_once_the_first_time_and_waits_the_second() -> None:
    [first] = retry.after_crash(POLICY, delivery(), 2000.0)
    assert (first.state, first.due_at, first.unknowns) == (State.DEFERRED, 2000.0, 1)
    poison = delivery(pending=(Pending(0, "x@t.test", attempts=1, unknowns=1),))
    [second] = retry.after_crash(POLICY, poison, 2000.0)
    assert (second.due_at, second.unknowns) == (2300.0, 2)
    [told] = retry.after_crash(POLICY, delivery(on_unknown=OnUnknown.REPORT), 2000.0)
    assert told.state is State.FAILED


def faulty(faults: int) -> Delivery:
    return delivery(pending=(Pending(0, "x@t.test", attempts=faults, faults=faults),))


def test_a_fault_of_our_own_waits_longer_each_time_and_the_fifth_in_a_row_ends_the_mail() -> None:
    waits = []
    for faults in range(4):
        outcomes = [outcome(Verdict.DEFERRED)]
        [again] = retry.after_fault(POLICY, faulty(faults), outcomes, 2000.0, 0)
        assert (again.state, again.faults) == (State.DEFERRED, faults + 1)
        waits.append(again.due_at - 2000.0)
    assert waits == [60, 300, 900, 3600]
    [ended] = retry.after_fault(POLICY, faulty(4), [outcome(Verdict.DEFERRED)], 2000.0, 0)
    assert (ended.state, ended.faults, ended.status) == (State.FAILED, 5, "5.3.0")
    assert "put aside after 5 faults" in ended.reply


def test_a_fault_after_which_an_upstream_may_have_the_mail_says_so() -> None:
    [again] = retry.after_fault(POLICY, faulty(0), [outcome(Verdict.UNKNOWN)], 2000.0, 0)
    assert (again.state, again.unknowns) == (State.DEFERRED, 1)


def test_an_attempt_that_an_upstream_answered_ends_the_row_of_faults() -> None:
    answered = resolved(faulty(4), outcome(Verdict.DEFERRED, 450))
    assert (answered.state, answered.faults) == (State.DEFERRED, 0)


def test_mail_that_the_relay_died_with_too_often_while_it_sent_it_has_failed() -> None:
    [again] = retry.after_crash(POLICY, faulty(4), 2000.0)
    assert (again.state, again.faults) == (State.DEFERRED, 4)
    [ended] = retry.after_crash(POLICY, faulty(5), 2000.0)
    assert (ended.state, ended.unknowns) == (State.FAILED, 1)


def account(account_id: str, **changes: object) -> Account:
    return replace(Account("acme", account_id, "h", 25), **changes)  # type: ignore[arg-type]


def test_a_lane_leads_to_its_account_or_to_those_of_its_senders_domain() -> None:
    accounts = [account("a"), account("b", sender_domains=("shop.test",)), account("c", rank=-1)]
    lanes = {
        lane_of("acme", "a", "any.test"): ["a"],
        lane_of("acme", None, "shop.test"): ["b"],
        lane_of("acme", None, "other.test"): ["c", "a"],
        lane_of("acme", "gone", "any.test"): [],
    }
    for lane, ids in lanes.items():
        assert [a.id for a in route.candidates(lane, accounts)] == ids


@pytest.mark.parametrize("account_id", ["main", "@x.test", "=main", "a/b", ""])
def test_no_account_shares_a_lane_with_a_domain(account_id: str) -> None:
    assert route.split_lane(lane_of("acme", account_id, "x.test")) == ("acme", account_id, None)
    assert route.split_lane(lane_of("acme", None, "x.test")) == ("acme", None, "x.test")


def test_inside_a_rank_weight_decides() -> None:
    accounts = [account("a", weight=3), account("b", weight=1), account("c", rank=1, weight=100)]
    chosen = Counter(
        found.id for i in range(100) if (found := route.choose(accounts, i / 100)) is not None
    )
    assert chosen == {"a": 75, "b": 25}
    assert route.choose([], 0.5) is None


def test_tenants_take_turns_by_weight() -> None:
    turns = Turns()
    waiting = [("a", 1), ("b", 3)]
    taken = Counter(turns.next(waiting) for _ in range(400))
    assert taken == {"a": 100, "b": 300}


def test_a_tenant_that_was_away_gains_nothing_by_it() -> None:
    turns = Turns()
    for _ in range(1000):
        turns.next([("a", 1)])
    taken = Counter(turns.next([("a", 1), ("b", 1)]) for _ in range(100))
    assert abs(taken["a"] - taken["b"]) <= 1


def test_an_account_rests_longer_after_each_fault_until_a_success() -> None:
    health, waits = Health(), []
    now = 100.0
    for _ in range(9):
        health = health.after_fault("down", now, 5, 300)
        waits.append(health.rest_until - now)
        assert health.after_fault("down too", now, 5, 300) is health
        now = health.rest_until
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert health.is_doubtful
    assert not health.rests(now)


@given(st.lists(st.floats(1e9, 2e9), min_size=2, max_size=30))
def test_pks_sort_by_time(times: list[float]) -> None:
    pks = [new_pk(at) for at in sorted(times)]
    assert [pk[:18] for pk in pks] == sorted(pk[:18] for pk in pks)
    assert all(pk[14] == "7" for pk in pks)


def test_an_outlet_holds_a_mail_twice_and_gives_by_priority_then_age() -> None:
    outlet = Outlet(account("main"))
    for priority, pk in ((2, "b"), (2, "a"), (2, "b"), (0, "c")):
        outlet.push(delivery(priority=priority, pk=pk))
    taken = [d.pk for _ in range(4) if (d := outlet.pop(0.0)) is not None]
    assert taken == ["c", "a", "b", "b"]
    assert outlet.pop(0.0) is None
    outlet.push(delivery())
    outlet.full_until = 10.0
    assert outlet.pop(9.0) is None
    assert outlet.pop(10.0) is not None
