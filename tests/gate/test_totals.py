"""The totals of a policy, held against the same sums done by hand over rows of every kind."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import pytest

from gate.stage import CONNECTION, Stage
from seikyu.gate.actions import State
from seikyu.gate.facts import gather
from seikyu.gate.witness import ROW_COLUMNS
from seikyu.spec import Principal

pytestmark = pytest.mark.both_stores

COUNTED = {State.APPROVED, State.EXECUTING, State.UNKNOWN, State.MANUAL_REVIEW, State.SUCCEEDED}
ROWS = 250


@dataclass(frozen=True)
class Sale:
    """What a total is about."""

    state: str
    kind: str
    may_have_left: int
    requester: str
    connection: str
    counterparty_id: str | None
    counterparty_key: str | None
    jst_day: str
    amount: int

    @property
    def counts(self) -> bool:
        is_doubtful = self.state == State.AWAITING and self.may_have_left == 1
        return self.kind == "bill" and (self.state in COUNTED or is_doubtful) and self.jst_day[:7] == "2026-11"

    @property
    def is_today(self) -> bool:
        return self.jst_day == "2026-11-21"

    @property
    def is_mine(self) -> bool:
        return self.requester == "suzuki"

    @property
    def is_theirs(self) -> bool:
        is_id = (self.connection, self.counterparty_id) == ("mfk-main", "C-1")
        return self.counterparty_key == "青葉商事" or is_id


TOTALS: Mapping[str, Callable[[Sale], bool]] = {
    "daily_total": lambda sale: sale.is_mine and sale.is_today,
    "monthly_total": lambda sale: sale.is_mine,
    "customer_daily_total": lambda sale: sale.is_theirs and sale.is_today,
    "customer_monthly_total": lambda sale: sale.is_theirs,
    "connection_daily_total": lambda sale: sale.connection == "mfk-main" and sale.is_today,
    "connection_monthly_total": lambda sale: sale.connection == "mfk-main",
    "split_total": lambda sale: sale.is_mine and sale.is_theirs and sale.is_today,
}


def any_sale(chance: random.Random) -> Sale:
    return Sale(
        state=chance.choice(list(State)).value,
        kind=chance.choice(["bill", "bill", "bill", "cancel", "document"]),
        may_have_left=chance.choice([0, 1]),
        requester=chance.choice(["suzuki", "ito"]),
        connection=chance.choice(["mfk-main", "mfk-other"]),
        counterparty_id=chance.choice(["C-1", "C-2", None]),
        counterparty_key=chance.choice(["青葉商事", "別", None]),
        jst_day=chance.choice(["2026-11-21", "2026-11-21", "2026-11-01", "2026-11-30", "2026-10-31", "2026-12-01"]),
        amount=chance.randrange(1, 1_000_000),
    )


def store(stage: Stage, sales: Mapping[str, Sale]) -> None:
    """Rows like that of an ordinary proposal, but for what a total is about."""
    first = stage.propose("A-1", 1)
    with stage.store.write() as tx:
        row = tx.one("action", id=first.id) or {}
        for id_, sale in sales.items():
            own = {"id": id_, "call_digest": id_, "natural_key": None, "updated_at": row["updated_at"]}
            tx.run(
                "take_up_action", **{name: row[name] for name in ROW_COLUMNS} | own | asdict(sale) | {"taken_up": None}
            )
    stage.desk.withdraw(first.id, Principal(first.requester, "test"))


@pytest.mark.parametrize("seed", [1, 2])
def test_every_total_is_the_sum_of_what_it_is_about_and_of_nothing_else(stage: Stage, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - rows of a test
    sales = {f"act-{number:020}": any_sale(chance) for number in range(ROWS)}
    excepted = next(id_ for id_, sale in sales.items() if sale.counts and all(has(sale) for has in TOTALS.values()))
    store(stage, sales)

    with stage.store.read() as tx:
        found = gather(
            tx,
            action_id=excepted,
            requester="suzuki",
            connection=CONNECTION,
            operation=stage.operation,
            particulars=stage.plan("A-2", 1).particulars,
            file_sha256=None,
            now=stage.clock.now(),
            duplicate_days=30,
        ).facts.model_dump()

    others = [sale for id_, sale in sales.items() if id_ != excepted and sale.counts]
    by_hand = {name: 1 + sum(sale.amount for sale in others if has(sale)) for name, has in TOTALS.items()}
    assert {name: found[name] for name in TOTALS} == by_hand
    assert len(set(by_hand.values())) == len(TOTALS)
