"""Logins: passwords are compared in constant time, and guessing them is slowed down."""

import hashlib
import hmac
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

FREE, FREE_ALL = 5, 50
"""Failed logins of one address, and of all together, before the first wait."""
LONGEST, LONGEST_ALL = 900.0, 60.0
"""Longest wait, seconds. That for all is short, or anybody could lock everybody out."""
FORGET = 3600.0
"""Seconds without an attempt after which failures are forgotten."""
MAX_ADDRESSES = 10_000
ALL = "all"


class Brake:
    """Failed logins by address. The wait doubles with each failure: 1, 2, 4, ... seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """Network -> attempts since the last success, and when the last one was made."""

    def begin(self, address: str) -> float:
        """Seconds that this address must wait; 0: it may try now, which counts as a failure until `succeeded`."""
        # Counted before the password is looked at: otherwise a hundred attempts at the same time would all be free.
        names = ((network(address), FREE, LONGEST), (ALL, FREE_ALL, LONGEST_ALL))
        wait = max(self._wait(*name) for name in names)
        if wait <= 0:
            for name, _, _ in names:
                self._failures[name] = (self._count(name) + 1, self.clock())
                self._failures.move_to_end(name)
            while len(self._failures) > MAX_ADDRESSES:
                self._failures.popitem(last=False)
        return wait

    def succeeded(self, address: str) -> None:
        """The attempt that began last was right."""
        self._failures.pop(network(address), None)
        count, when = self._failures.get(ALL, (0, 0.0))
        self._failures[ALL] = (max(0, count - 1), when)

    def _count(self, name: str) -> int:
        count, when = self._failures.get(name, (0, 0.0))
        return 0 if self.clock() - when > FORGET else count

    def _wait(self, name: str, free: int, longest: float) -> float:
        count = self._count(name)
        if count < free:
            return 0.0
        return self._failures[name][1] + min(longest, 2.0 ** min(count - free, 30)) - self.clock()


def network(address: str) -> str:
    """What counts as one visitor: an IPv4 address, or the /64 network that one IPv6 line has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def checker(users: Sequence[tuple[str, str]]) -> Callable[[str, str], bool]:
    """A function that says whether a name and password are right, in a time that does not depend on them."""
    known = [(_digest(name), _digest(password)) for name, password in users]

    def check(name: str, password: str) -> bool:
        right = False
        given = (_digest(name), _digest(password))
        for user in known:  # all of them, and both parts of each
            right |= hmac.compare_digest(given[0], user[0]) & hmac.compare_digest(given[1], user[1])
        return right

    return check


def _digest(text: str) -> bytes:
    # Of one length, because compare_digest shows the length of its arguments.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
