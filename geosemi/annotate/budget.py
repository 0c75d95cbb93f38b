"""What asking may cost: counted before a question is sent, so that a cap is never exceeded by more than a guess."""

import threading
from dataclasses import dataclass, field

from geosemi.annotate.speaker import Reply
from geosemi.errors import ResourceError

_PIXELS_A_TOKEN = 28 * 28  # Qwen2.5-VL; Qwen3-VL takes 32², others bill by tiles of about the same size
_LETTERS_A_TOKEN = 3


def tokens_of(pixels: int, letters: int) -> int:
    """Return about how many tokens a picture and a question are."""
    return -(-pixels // _PIXELS_A_TOKEN) + -(-letters // _LETTERS_A_TOKEN) + 20


@dataclass
class Budget:
    """Caps on requests and money, for several threads at once.

    Attributes:
        requests: how many may be sent, tries included; None for any number.
        money: what may be spent, in the currency of the prices; None for any sum.
        price_in: of a million tokens asked.
        price_out: of a million tokens answered.
    """

    requests: int | None = None
    money: float | None = None
    price_in: float = 0.0
    price_out: float = 0.0
    sent: int = field(default=0, init=False)
    spent: float = field(default=0.0, init=False)
    _held: float = field(default=0.0, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def cost(self, tokens_in: float, tokens_out: float) -> float:
        """Return what so many tokens cost."""
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6

    def reserve(self, tokens_in: int, tokens_out: int) -> None:
        """Take what a request costs at worst.

        Raises:
            ResourceError: it is not there any more.
        """
        worst = self.cost(tokens_in, tokens_out)
        with self._lock:
            if self.requests is not None and self.sent >= self.requests:
                raise ResourceError(
                    f"all {self.requests} requests of `--max-requests` are used",
                    hint="answers so far are kept: run the same command again to go on",
                )
            if self.money is not None and self.spent + self._held + worst > self.money:
                waiting = f", and at most {self._held:.4g} by requests under way" if self._held > 1e-12 else ""
                raise ResourceError(
                    f"the next request could exceed `--budget {self.money:g}`; {self.spent:.4g} is spent{waiting}",
                    hint="answers so far are kept: run the same command again with a new budget to go on",
                )
            self.sent += 1
            self._held += worst

    def settle(self, tokens_in: int, tokens_out: int, reply: Reply | None) -> None:
        """Replace what was taken by what the server counted; without a count, or an answer, the worst is assumed."""
        counted = reply is not None and reply.tokens_in is not None and reply.tokens_out is not None
        real = self.cost(reply.tokens_in or 0, reply.tokens_out or 0) if counted and reply else None
        worst = self.cost(tokens_in, tokens_out)
        with self._lock:
            self._held -= worst
            self.spent += worst if real is None else real
