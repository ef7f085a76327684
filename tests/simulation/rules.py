"""The policies of a run, and what they mean, worked out a second time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from seikyu.gate.policy import Policy, parse_policy
from simulation.providers import OPERATIONS


@dataclass(frozen=True, slots=True)
class Rules:
    """Yen. `two` and above it two operators, `one` one; a day's limit per requester; nothing above `most`."""

    one: int = 50_000
    two: int = 1_000_000
    most: int = 5_000_000
    day: int = 100_000_000
    asks_twins: bool = False

    def needs(self, amount: int, *, total: int, is_twin: bool) -> int | None:
        """How many votes, given what is certain; None when it is denied."""
        if amount > self.most or total > self.day:
            return None
        if amount > self.two:
            return 2
        return int(amount > self.one or (self.asks_twins and is_twin))

    def source(self) -> str:
        listed = ", ".join(f'"{name}"' for name in OPERATIONS)
        twins = '[[ask]]\nid = "twin"\nwhy = "twin"\nduplicate = true\n' if self.asks_twins else ""
        return (
            f'schema = 1\nversion = "simulated"\noperations = [{listed}]\n'
            f'[[deny]]\nid = "most"\nwhy = "most"\namount_over = {self.most}\n'
            f'[[deny]]\nid = "day"\nwhy = "day"\ndaily_total_over = {self.day}\n'
            f'[[ask]]\nid = "two"\nwhy = "two"\namount_over = {self.two}\napprovers = 2\n'
            f'[[ask]]\nid = "one"\nwhy = "one"\namount_over = {self.one}\n'
            f'{twins}[[allow]]\nid = "small"\nwhy = "small"\namount_at_most = {self.one}\n'
        )


USUAL: Final = Rules()
STRICT: Final = Rules(one=10_000, two=60_000, asks_twins=True)
DAILY: Final = Rules(day=120_000)
LOOSE: Final = Rules(one=3_000_000, two=4_000_000)
CLOSED: Final = Rules(most=0)

EVERY: Final = (USUAL, STRICT, DAILY, LOOSE, CLOSED)


@cache
def policy_of(rules: Rules) -> Policy:
    return parse_policy(rules.source(), "policy.toml")
