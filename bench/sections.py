"""The sections of docs/performance.md, in order: what is measured, and what limits it.

The words hold whatever the figures are. `full` and `quick` are the options of the command.
"""

from dataclasses import dataclass

from bench import (
    attachments,
    big,
    distance,
    fairness,
    idle,
    queue,
    rest,
    smtp,
    stores,
)
from bench.command import Bench


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    bench: Bench
    full: str
    quick: str
    title: str
    about: str
    limits: str

    def words(self, *, is_quick: bool) -> list[str]:
        return (self.quick if is_quick else self.full).split()


SECTIONS = (
    Section(
        name="smtp",
        bench=smtp.BENCH,
        full="--pairs 5 -n 3000",
        quick="--pairs 1 -n 500",
        title="Beside Postfix, by SMTP",
        about="The same mail goes through Pillarbox on SQLite and through Postfix with every "
        "setting that made it faster, in turns, from 20 sessions to sinks alike. Both have each "
        "mail on the disk before they answer 250. Pillarbox checks a login on each connection; "
        "Postfix trusts loopback and checks none. A ratio is taken inside each pair of runs, and "
        "of ratios the median counts: over 1 is more than Postfix.",
        limits="One process, so one Python interpreter: the event loop, which speaks with clients "
        "and upstreams, and the thread that writes to SQLite take turns. Of the time of a "
        "transaction more than half is the thread waiting for its turn, after each row; so with 20 "
        "sessions, each waiting for the commit under way and for its own, neither core is full. "
        "Where each mail has a connection of its own, opening it, greeting and login cost more "
        "than the mail. "
        "At 100 KB it is the bytes, which are copied into the store and synced, while everybody "
        "whose mail is in the same commit waits. The load and the sinks use the same cores.",
    ),
    Section(
        name="tls",
        bench=smtp.BENCH,
        full="--pairs 3 -n 1500 --tls",
        quick="--pairs 1 -n 200 --tls",
        title="The same inside TLS",
        about="As above, with TLS from the first byte, in and out, on both relays. A new "
        "connection is a full handshake; Postfix keeps connections to the sink, too.",
        limits="Where each mail has a connection of its own, handshakes: on our side they are done "
        "in the event loop, one after another, and the load generator pays for its half on the "
        "same cores. On kept connections it is encrypting, once in and once out.",
    ),
    Section(
        name="stores",
        bench=stores.BENCH,
        full="--turns 5 -n 1500",
        quick="--turns 1 -n 300",
        title="SQLite and PostgreSQL, one node and two",
        about="The same mail through Pillarbox on each store, in turns. PostgreSQL runs on the "
        "same machine with fsync on, and its CPU counts as Pillarbox's. Two nodes share one "
        "PostgreSQL and the same port.",
        limits="On one machine PostgreSQL takes its CPU from the same cores as the node: what "
        "SQLite does in the node's own thread becomes statements between processes. Two nodes can "
        "only be faster than one where cores are idle with one. On two cores, which also run "
        "PostgreSQL, the load and the sink, there are none; then the row says what a second node "
        "costs, not what it brings.",
    ),
    Section(
        name="rest",
        bench=rest.BENCH,
        full="--runs 3 -n 3000 --seconds 3",
        quick="--runs 1 -n 1000 --seconds 1",
        title="By REST, on SQLite",
        about="`POST /commands/add-messages` with messages of 4 KB, one a call and 50 a call, each "
        "committed before the answer, and delivered meanwhile. First, 20 connections that each "
        "call again when they were answered. Then calls at a fixed rate, at times that no answer "
        "moves: a wait counts from when the call was to be made, so a stall counts for every call "
        "that it held up. The rate goes up until the p99 is over 50 ms twice.",
        limits="One interpreter, as above: JSON is read, the mail composed and the answer written "
        "in the event loop, and what was accepted is sent by the same loop at the same time. Calls "
        "of 50 share a commit and the reading of one request, so they cost less for each message. "
        "With 20 connections each call waits for the commit under way and for its own: more "
        "connections carry more. "
        "At a fixed rate, the p99 is made by the moments when the loop does something else.",
    ),
    Section(
        name="rest-postgres",
        bench=rest.BENCH,
        full="--runs 3 -n 3000 --seconds 3 --database postgres",
        quick="--runs 1 -n 500 --seconds 1 --database postgres",
        title="By REST, on PostgreSQL",
        about="The same with one node on a PostgreSQL of the same machine.",
        limits="As on SQLite, and the way to PostgreSQL and back, which uses the same cores.",
    ),
    Section(
        name="queue",
        bench=queue.BENCH,
        full="--waiting 1000 1000000 --runs 5",
        quick="--waiting 1000 50000 --runs 1",
        title="A long queue",
        about="What a mail costs when many wait: claimed with 99 others, begun, and settled as "
        "sent, each step committed; the store alone, nothing is sent. The stores take turns. Then "
        "a node starts on each and sends: how long until it is ready, and its largest memory. "
        "The mails are copies of one inside the store. `--large` adds ten million.",
        limits="A claim reads the small index of what is due, so its cost grows with the index's "
        "depth only. What does grow is what asks for all: the depth of the queue in `GET /metrics` "
        "and `GET /status` is counted, and on SQLite others wait while it is. A node holds what is "
        "next and no more: `dispatch.memory_bytes` of content, some mails ahead for each "
        "connection, and the store's cache, which a short queue does not fill.",
    ),
    Section(
        name="fairness",
        bench=fairness.BENCH,
        full="--queued 100000 -n 200",
        quick="--queued 10000 -n 30",
        title="One tenant's mail beside another's flood",
        about="One tenant has a hundred thousand mails of 4 KB queued, which leave as fast as the "
        "node can send. Another, with an account of its own, gives one mail every 100 ms: how long "
        "from its 250 until the upstream has all of it?",
        limits="A single mail does not wait for the flood, but shares with it: the event loop, and "
        "on SQLite the one writer, whose commits it has to wait for before anybody may be offered "
        "the mail.",
    ),
    Section(
        name="distance",
        bench=distance.BENCH,
        full="--round-trip 50 --connections 20 100 --seconds 8",
        quick="--round-trip 50 --connections 20 --seconds 3",
        title="An upstream that is far away",
        about="Every byte between Pillarbox and the sink is late, by a round trip of about 50 ms. "
        "A mail needs two round trips where the upstream takes commands in a row (PIPELINING), "
        "four where not, so a connection can carry one mail in that time; `permitted` is that, "
        "times the connections of the account, `max_connections`.",
        limits="The distance: more connections are more mail, as far as the node itself goes. What "
        "is lost beside the formula is commits between mails, and connections that are opened anew "
        "after `max_messages_per_connection` mails, each some round trips long.",
    ),
    Section(
        name="big",
        bench=big.BENCH,
        full="--runs 3 --at-once 1 4",
        quick="--runs 1 --at-once 1 4",
        title="Mails of 25 MB",
        about="From the client to the sink, plain and inside TLS, one alone and four at once. "
        "Memory is what is added at most to that of the node before, in sizes of one mail. How "
        "late the event loop is was measured inside the process: how long whoever comes at any "
        "millisecond waits for a turn. The first row of each kind is a node that does nothing.",
        limits="A mail is in memory while it comes in and again as it is stored. What has to be "
        "done over all of its bytes is done in slices or in a thread, so that others have their "
        "turn; the loop is late by as long as a slice takes. Then the disk: the mail is written to "
        "the store and synced before its 250, and read again where it could not leave at once.",
    ),
    Section(
        name="attachments",
        bench=attachments.BENCH,
        full="--runs 3",
        quick="--runs 1",
        title="Files that are fetched",
        about="Mails by REST, each with a file of 18 MB that is fetched when the mail is due, "
        "encoded, and sent: one, and twenty at once.",
        limits="Fetching, encoding and sending share one interpreter, and how much content may be "
        "in memory at once is bounded (`dispatch.large_bytes`), so twenty take longer, not more.",
    ),
    Section(
        name="idle",
        bench=idle.BENCH,
        full="--runs 5 --seconds 20",
        quick="--runs 2 --seconds 5",
        title="Nothing to do",
        about="How long from the start of the process until `GET /ready` answers 200, and what a "
        "node uses that has sent one mail and has nothing more to do.",
        limits="To start is to import: Python reads its modules, and those of the libraries. "
        "At rest, memory is the same modules. A node looks once a second whether something is "
        "due, since the hint that another node gives may be lost.",
    ),
)
