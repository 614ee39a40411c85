"""Python imports this module at its start: `time.time` jumps by an hour every 50 milliseconds, as no NTP server would.

Only the wall clock: `time.monotonic` and `time.perf_counter` go on, as in the operating system.
"""

import time

_real = time.time


def _jumping() -> float:
    return _real() - 3600 * (int(time.monotonic() / 0.05) % 2)


time.time = _jumping
