"""Who waits after failed logins, how long, and who does not."""

from functools import partial

import pytest

from relay.ingress.guesses import Guesses, Memory, place_of
from relay.store.login_failures import FORGET_S, Guess, Rules

RULES = Rules(first_wait_s=1, longest_wait_s=5, most_names=3, turn_s=2)
IP = "192.0.2.1"
ELSEWHERE = "192.0.2.2"


class Watched:
    """The guesses of one process, with a time of its own."""

    def __init__(self, rules: Rules = RULES, memory: Memory | None = None) -> None:
        self.now = 1000.0
        self.guesses = Guesses(rules, lambda: self.now, memory=memory)

    def of(self, user: str, ip: str = IP) -> Guess:
        return self.guesses.of(ip, "user", user)

    async def turn(self, user: str, ip: str = IP) -> float | None:
        return await self.guesses.turn(self.of(user, ip))

    async def fails(self, *users: str, ip: str = IP) -> None:
        for user in users:
            await self.guesses.failed(self.of(user, ip))

    async def passes(self, user: str, ip: str = IP) -> None:
        await self.guesses.passed(self.of(user, ip))

    async def rejected(self, token: str, free_tries: int = 2) -> float:
        return await self.guesses.rejected(
            self.guesses.of(IP, "token", token, free_tries=free_tries)
        )


async def test_the_wait_grows_with_each_failure_up_to_the_longest() -> None:
    watched = Watched()
    waits = []
    for _ in range(5):
        wait_s = await watched.turn("ann")
        assert wait_s is not None
        waits.append(wait_s)
        watched.now += wait_s
        await watched.fails("ann")
    assert waits[0] == 0
    assert waits == sorted(waits)
    assert waits[-1] == 5


async def test_guesses_at_the_same_time_stand_in_a_line() -> None:
    watched = Watched()
    await watched.fails("ann")
    assert [await watched.turn("ann") for _ in range(7)] == [1, 2, 3, 4, 5, None, None]


async def test_nobody_waits_for_the_failures_of_another() -> None:
    watched = Watched()
    for _ in range(50):
        await watched.fails("ann")
    assert await watched.turn("bob") == 0
    assert await watched.turn("ann", ELSEWHERE) == 0


async def test_failures_are_forgotten_after_success_or_a_while() -> None:
    watched = Watched()
    await watched.fails("ann")
    watched.now += FORGET_S + 1
    assert await watched.turn("ann") == 0
    await watched.fails("ann")
    await watched.passes("ann")
    assert await watched.turn("ann") == 0


async def test_where_many_names_fail_the_names_take_turns() -> None:
    watched = Watched()
    await watched.fails("a", "b")
    assert [await watched.turn("new") for _ in range(3)] == [0, 0, 0]
    await watched.fails("c")
    assert [await watched.turn(f"new {n}") for n in range(5)] == [0, 2, 4, None, None]
    assert await watched.turn("new", ELSEWHERE) == 0


async def test_who_was_let_in_there_before_does_not_wait_for_a_guesser_at_the_same_place() -> None:
    watched = Watched()
    await watched.passes("ann")
    await watched.fails("a", "b", "c", "d", "e")
    assert [await watched.turn("ann") for _ in range(3)] == [0, 0, 0]
    await watched.fails("ann")
    assert await watched.turn("ann") == 1
    assert [await watched.turn("bob") for _ in range(2)] == [2, 4]


async def test_a_guesser_with_a_login_of_its_own_does_not_end_its_wait_by_it() -> None:
    watched = Watched()
    await watched.fails("a", "b", "c", "d")
    await watched.passes("mallory")
    assert await watched.turn("victim") == 2


async def test_a_place_is_free_again_when_its_failures_are_old() -> None:
    watched = Watched()
    await watched.fails("a", "b", "c")
    watched.now += FORGET_S + 1
    assert [await watched.turn("new") for _ in range(2)] == [0, 0]


async def test_a_wrong_token_may_be_repeated_some_times_and_is_then_too_soon() -> None:
    watched = Watched()
    assert [await watched.rejected("old") for _ in range(5)] == [0, 0, 0, 1, 1]
    watched.now += 1
    assert [await watched.rejected("old") for _ in range(2)] == [0, 2]


async def test_many_wrong_tokens_are_too_many_and_count_where_users_log_in() -> None:
    watched = Watched()
    answers = [await watched.rejected(f"token {n}") for n in range(6)]
    assert answers == [0, 0, 0, 0, 2, 2]
    assert await watched.turn("ann") == 2
    assert await watched.turn("ann", ELSEWHERE) == 0


async def test_a_guesser_of_users_is_a_guesser_of_tokens() -> None:
    watched = Watched()
    await watched.fails("a", "b", "c", "d")
    assert await watched.rejected("token") == 2


@pytest.mark.parametrize("most", [2])
async def test_the_memory_of_places_is_bounded(most: int) -> None:
    watched = Watched(memory=Memory(most_places=most))
    for ip in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        await watched.fails("ann", ip=ip)
    turn = partial(watched.turn, "ann")
    assert [await turn(f"192.0.2.{n}") for n in (1, 2, 3)] == [0, 1, 1]


async def test_of_a_place_that_takes_turns_no_more_names_are_kept() -> None:
    memory = Memory()
    watched = Watched(memory=memory)
    await watched.fails(*(f"guess {n}" for n in range(1000)))
    assert len(memory.of_place(IP, watched.now)) == RULES.most_names + 1


@pytest.mark.parametrize(
    ("ip", "place"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_a_place_is_what_one_subscriber_has(ip: str, place: str) -> None:
    assert place_of(ip) == place
