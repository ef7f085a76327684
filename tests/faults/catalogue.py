# ruff: noqa: E501 - a table reads best with one line a fault
"""The faults Seikyu is built to survive: a number, what goes wrong, and what must come of it.

A test that proves one carries `@pytest.mark.fault("F01")`. `make faults` shows which tests prove which.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Fault:
    """One line of the catalogue."""

    number: str
    what: str
    outcome: str


CATALOGUE: Final = tuple(
    Fault(f"F{place:02}", what, outcome)
    for place, (what, outcome) in enumerate(
        (
            # a process dies
            ("kill -9 before a proposal is committed", "nothing recorded, nothing sent; asking again proposes it"),
            ("kill -9 after the proposal, before a decision", "still waits for an operator, and expires as usual"),
            ("kill -9 after approval, before the claim", "resumed once with the same digest, or it expires"),
            ("kill -9 after the claim, before connecting", "unknown; only the provider's data sends it again"),
            ("kill -9 in the middle of the request", "unknown; done only when the provider's data says so"),
            ("kill -9 after the answer, before the commit", "unknown, looked up, done: one effect"),
            ("kill -9 after the commit, before telling", "done, the result is there for the same call; told at least once"),
            ("SIGTERM during a write", "waits to the write's deadline, then unknown; the exit code tells"),
            # the store fails
            ("no room on the disk when a proposal is stored", "refused, nothing sent"),
            ("no room on the disk when an outcome is stored", "told as possibly written, alarm in the log, looked up later"),
            ("database locked too long, or read-only", "refused, nothing sent"),
            ("database file damaged, its log cut, an older or newer schema", "no write; damage names the backup; a migration is whole or not at all"),
            ("PostgreSQL stopped at once, at every step", "as kill -9: no second effect"),
            ("connection to PostgreSQL lost during a commit", "read again by its id before anything is sent"),
            ("the database lost its last rows (failover, restore)", "noticed at the start; unknown, nothing sent again"),
            # two of us at once
            ("two processes take the same approved action", "one sends; the other learns it before its first byte"),
            ("a process paused past its lease goes on", "its fence is closed before the first byte; if bytes had left: unknown"),
            ("the clock goes back an hour, forward a day, or into daylight saving", "no second effect; an approval never lives longer; tokens keep"),
            # the wire
            ("name not found, connection refused, TLS expired or for another host", "not sent, said clearly, never over plain HTTP"),
            ("connecting takes too long", "not sent"),
            ("the upload stalls halfway", "unknown at the write's deadline"),
            ("request whole, answer lost, provider did it", "unknown, then done by looking it up"),
            ("request whole, answer lost, provider did not", "unknown; absent only after the quiet period"),
            ("the effect lands ten minutes later", "never reported absent; one effect"),
            ("reset on a connection that was kept open", "a write has a fresh one; a read tries again"),
            ("reset after the headers, JSON cut short, wrong length", "unknown"),
            ("200 with a log-in page, or with other JSON", "a write is unknown; a read is an error of the provider"),
            ("201 whose amount or customer is not what we sent", "alarm, a person looks, nothing more is done"),
            ("a redirect of a write or a token request", "not followed, unknown; no secret reaches another host"),
            ("5xx after it was done", "unknown"),
            ("503 with Retry-After before it was done", "a write is unknown; a read waits within its time"),
            ("429 with any Retry-After: none, 0, a date, absurd, negative", "not done, tried again later; waits are capped"),
            ("400 that says too many uploads", "not done, tried again later; not an invalid request"),
            ("409: it exists already", "compared field by field: ours is done, another's is refused"),
            ("a look-up that lags behind", "not absent within the quiet period"),
            ("a look-up that finds two", "a person decides, both are shown"),
            ("a compressed bomb, an endless body", "cut at the cap"),
            ("one byte a second", "one deadline for the whole"),
            ("new fields, a new status, nulls, no id", "reads go on; a write is unknown only without its id"),
            ("a list whose cursor repeats", "stops, and says that it is not complete"),
            # tokens
            ("the access token expires in the middle of a batch", "one renewal for all, nothing twice"),
            ("eight processes see the expiry together", "one token request"),
            ("the token endpoint answers 429, 500, HTML, {} or not at all", "the stored token stays; never twice with one that may be used up"),
            ("kill -9 between the new tokens and the commit", "noticed at the next use: a person connects again; no loop"),
            ("refused because another process renewed", "read again and gone on with; nobody is told"),
            ("the person took the consent back at the provider", "login needed; what waits is blocked and says why"),
            ("the process that renews dies", "the next one after the lease, and it reads first"),
            ("tokens without a refresh token, with fewer rights, for another company", "the old refresh token stays; otherwise stop and ask"),
            ("master key missing, wrong, or changed halfway", "nothing stored or read in plain; a ring opens both; no row is overwritten"),
            # decisions
            ("approved, and the provider's object changed since", "read again before sending; different is void"),
            ("approved twice, or approved and rejected at once", "the first recorded decision counts; at most one execution"),
            ("an approval after expiry, after a restart, of an older digest", "refused with its reason; a restart changes nothing"),
            ("Slack repeats, a second click, a replay, two people", "one decision; later ones learn who decided"),
            ("Slack is down or busy", "other ways work; not approved, not lost"),
            ("our answer to Slack would come too late", "stored first, or the person is told that it was not"),
            ("a webhook six times, at once, out of order", "durable before it is answered; one effect; the API is read"),
            ("a webhook of the same id with another body", "kept, flagged, not applied"),
            ("a webhook before our own answer", "joined by its reference: one action"),
            # callers
            ("the client goes away or cancels during a write", "the write ends with a recorded outcome"),
            ("the client sends the same call again", "the same action, one effect"),
            ("a looping agent asks a hundred times", "capped, duplicates merged, the operator sees the count"),
            ("the document changes, grows or vanishes after approval", "what was approved is sent, or nothing"),
            ("the event loop stands still, no thread is free", "deadlines hold; health says degraded"),
            ("the log is blocked, stderr closed, the reader gone", "no deadlock, no outcome lost"),
        ),
        start=1,
    )
)  # fmt: skip
"""F01 to F64, in order."""

NOT_YET: Final[Mapping[str, str]] = {}
"""Faults without a test, each with the reason. Nothing else may be without one."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A test that carries a number of the catalogue."""

    number: str
    file: Path
    test: str


def proofs() -> list[Proof]:
    """Every marked test of the suite, read from its source: nothing is imported."""
    return [proof for file in sorted(TESTS.rglob("test_*.py")) for proof in _proofs_in(file)]


def _proofs_in(file: Path) -> Iterator[Proof]:
    source = file.read_text(encoding="utf-8")
    if "mark.fault(" not in source:
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            for decorator in node.decorator_list:
                for number in _numbers(decorator):
                    yield Proof(number, file, node.name)


def _numbers(decorator: ast.expr) -> list[str]:
    """The arguments of `pytest.mark.fault(…)`, also within a parameter's marks."""
    return [
        str(argument.value)
        for call in ast.walk(decorator)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.fault"
        for argument in call.args
        if isinstance(argument, ast.Constant)
    ]
