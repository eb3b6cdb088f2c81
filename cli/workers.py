"""Several nodes on one machine: the parent starts them, passes signals on, and replaces one that
dies.

The nodes share the ports (SO_REUSEPORT) and meet in PostgreSQL; the parent takes no mail itself.
When it is killed, they end in order: nobody would replace them, nor stop them.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from relay import maillog
from relay.errors import Permanent

AGAIN_AFTER_S = 1.0


def supervise(count: int, run: Callable[[], None]) -> int:
    """Keep `count` children running until SIGTERM or SIGINT; return the exit code."""
    state = Supervision(run)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, state.pass_on)
    for _ in range(count):
        state.start_one()
    return state.watch()


class Supervision:
    def __init__(self, run: Callable[[], None]) -> None:
        self._run = run
        self._children: set[int] = set()
        self._is_stopping = False
        self._worst = 0
        # The parent alone holds the end to write to: that the other end closes tells of its death.
        self._death, self._life = os.pipe()

    def start_one(self) -> None:
        pid = os.fork()
        if pid:
            self._children.add(pid)
            return
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.close(self._life)
        threading.Thread(target=end_with_parent, args=[self._death], daemon=True).start()
        try:
            self._run()
        except Permanent as error:
            print(f"pillarbox: {error}", file=sys.stderr, flush=True)
            os._exit(os.EX_CONFIG)
        except BaseException as error:  # noqa: BLE001 - the child must end here, never in the parent's code
            maillog.unexpected("worker", error)
            os._exit(os.EX_SOFTWARE)
        os._exit(os.EX_OK)

    def pass_on(self, number: int, _frame: object) -> None:
        self._is_stopping = self._is_stopping or number != signal.SIGHUP
        for pid in self._children:
            os.kill(pid, number)

    def watch(self) -> int:
        """Wait for the children; one that ends by itself is started again, not faster than once a
        second.
        """
        while self._children:
            try:
                pid, status = os.wait()
            except ChildProcessError:
                break
            self._children.discard(pid)
            if os.waitstatus_to_exitcode(status) == os.EX_CONFIG and not self._is_stopping:
                # It would fail for the same reason again and again.
                self.pass_on(signal.SIGTERM, None)
            if self._is_stopping:
                self._worst = max(self._worst, os.waitstatus_to_exitcode(status))
            else:
                time.sleep(AGAIN_AFTER_S)
                self.start_one()
        return self._worst


def end_with_parent(death: int) -> None:
    """Stop this process in order once its parent is gone."""
    os.read(death, 1)
    os.kill(os.getpid(), signal.SIGTERM)
