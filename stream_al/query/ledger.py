"""The ledger: every label that is asked for is paid with a token, to the last billionth.

Amounts are integers of 1e-9 tokens, so the identity below holds exactly at every event, and the bound
that is printed to the user is a bound:

    spent + tokens + (credit - debt) + clipped = allowance + grant
    spent <= allowance + grant

with ``grant = capacity/2 + credit``. Every event earns its budget share; what does not fit into the
bucket is clipped. While the credit of the start is in debt, a quarter of the income pays it back.
Replies never touch the ledger: the budget counts what was asked of people.
"""

from __future__ import annotations

from dataclasses import dataclass

from stream_al.errors import ConfigurationError

TOKEN = 10**9
"""One token in ledger units."""
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Budget:
    """The terms of a ledger, for one partition.

    Parameters
    ----------
    share : float
        B, labels per event, in (0, 1]; 1 asks everything.
    overlap : int
        Tokens that one request costs: answers wanted per request.
    floor_share : float
        rho, the share of the budget that is asked at random.
    capacity : float
        Lmax, tokens that can be saved up by a partition.
    credit : float
        Tokens of the topic spent ahead at the start and paid back from income.
    partitions : int
        Over which the credit is split.
    daily_cap : int or None
        Hard cap of requests a day (UTC, log time) and partition.

    Raises
    ------
    ConfigurationError
        A term is out of its range.
    """

    share: float
    overlap: int = 1
    floor_share: float = 0.1
    capacity: float = 10.0
    credit: float = 20.0
    partitions: int = 1
    daily_cap: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise ConfigurationError(
                f"query.budget is {self.share}; expected labels per event above 0 and at most 1; "
                "0.05 asks 5 % of the events, 1 asks everything"
            )
        if not 0.0 < self.floor_share <= 1.0:
            raise ConfigurationError(
                f"query.floor_share is {self.floor_share}; expected above 0 and at most 1; "
                "the floor is what keeps the estimates honest (0.1 by default)"
            )
        if self.capacity < self.overlap + 1:
            raise ConfigurationError(
                f"query.capacity is {self.capacity} tokens, but one request costs {self.overlap} and one "
                f"token is kept for the floor; set it to at least {self.overlap + 1}"
            )
        if self.credit < 0 or self.overlap < 1 or self.partitions < 1:
            raise ConfigurationError(
                f"credit {self.credit}, overlap {self.overlap}, partitions {self.partitions}; "
                "expected credit >= 0, overlap >= 1, partitions >= 1"
            )

    @property
    def income(self) -> int:
        """Ledger units earned by one event; a multiple of 4, so that its quarter is exact."""
        return max(4, 4 * round(self.share * TOKEN / 4))

    @property
    def cost(self) -> int:
        """Ledger units that one request costs."""
        return self.overlap * TOKEN

    @property
    def limit(self) -> int:
        """The bucket's capacity in ledger units."""
        return round(self.capacity * TOKEN)

    @property
    def asks_everything(self) -> bool:
        """Whether every event earns what its request costs."""
        return self.income >= self.cost

    @property
    def credit_units(self) -> int:
        """This partition's part of the credit in ledger units; none where everything is asked anyway."""
        return 0 if self.asks_everything else round(self.credit * TOKEN / self.partitions)

    @property
    def asks_per_event(self) -> float:
        """b = B / overlap: requests per event that the budget allows."""
        return self.share / self.overlap

    def bound(self) -> str:
        """Return the printed promise, for example ``"at most 1 % of events + 80 labels, 12 partitions"``."""
        extra = self.partitions * (self.limit // 2 + self.credit_units) / TOKEN
        return (
            f"at most {100 * self.share:.4g} % of events + {extra:.4g} labels, "
            f"{self.partitions} partition{'s' if self.partitions > 1 else ''}"
        )


@dataclass(slots=True)
class Ledger:
    """The account of one partition, in units of 1e-9 tokens."""

    allowance: int
    spent: int
    tokens: int
    debt: int
    clipped: int
    floor_blocked: int
    day: int
    day_asked: int
    grant: int
    credit: int

    @classmethod
    def opened(cls, budget: Budget) -> Ledger:
        """Return the account at the first event: half a bucket and the credit, which is owed."""
        grant = budget.limit // 2 + budget.credit_units
        return cls(0, 0, grant, budget.credit_units, 0, 0, 0, 0, grant, budget.credit_units)

    def copy(self) -> Ledger:
        """Return an independent copy."""
        return Ledger(*(getattr(self, name) for name in Ledger.__slots__))

    def earn(self, income: int, limit: int) -> None:
        """Credit one event's income; at a full bucket all of it is clipped."""
        self.allowance += income
        if self.tokens >= limit:
            self.clipped += income
            return
        if self.debt > 0:
            payment = min(self.debt, income // 4)
            self.debt -= payment
            income -= payment
        tokens = self.tokens + income
        if tokens > limit:
            self.clipped += tokens - limit
            tokens = limit
        self.tokens = tokens

    def pay(self, cost: int) -> None:
        """Spend the price of one request; the caller has seen that the tokens are there."""
        self.tokens -= cost
        self.spent += cost
        self.day_asked += 1

    def under(self, budget: Budget) -> Ledger:
        """Return the account under new terms: tokens above its capacity are lost, no new credit is given."""
        kept = self.copy()
        excess = max(0, kept.tokens - max(budget.limit, 0))
        kept.tokens -= excess
        kept.clipped += excess
        return kept

    def balanced(self) -> bool:
        """Return whether the identity holds."""
        paid_back = self.credit - self.debt
        return self.spent + self.tokens + paid_back + self.clipped == self.allowance + self.grant
