"""One random change to anything an execution rests on, written past the gate by somebody who owns it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from random import Random
from typing import Any, Final

from gate.forgery import restamp
from gate.office import POLICY, Office, Target
from seikyu.gate import audit, freezing
from seikyu.gate.canonical import canonical
from seikyu.gate.witness import TIMING_COLUMNS, action_hash
from seikyu.models import moment
from seikyu.settings import Settings

Values = dict[str, Any]


@dataclass
class Hand:
    """Whoever makes the change; `settings` are those the executor starts with afterwards."""

    office: Office
    target: Target
    rng: Random
    settings: Settings

    @property
    def id(self) -> str:
        return self.target.action.id

    def rows(self, table: str, where: str = "1 = 1", *values: object) -> list[Values]:
        found = self.office.raw.execute(f"SELECT rowid AS rowid_, * FROM {table} WHERE {where}", values)  # noqa: S608
        return [dict(row) for row in found.fetchall()]

    def row(self, table: str, where: str = "1 = 1", *values: object) -> Values | None:
        found = self.rows(table, where, *values)
        return self.rng.choice(found) if found else None

    def put(self, table: str, row: Values, **values: object) -> str | None:
        """Change a row; None when it is the same in the end."""
        before = self.office.raw.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
        names = ", ".join(f"{name} = ?" for name in values)
        self.office.raw.execute(
            f"UPDATE {table} SET {names} WHERE rowid = ?",  # noqa: S608
            (*values.values(), row["rowid_"]),
        )
        after = self.office.raw.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
        return None if [tuple(one) for one in before] == [tuple(one) for one in after] else f"{table}: {values!r}"

    def add(self, table: str, row: Values) -> str:
        names = [name for name in row if name != "rowid_"]
        marks = ", ".join("?" for _ in names)
        written = [row[name] for name in names]
        self.office.raw.execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", written)  # noqa: S608
        return f"{table}: added {row!r}"

    def drop(self, table: str, row: Values) -> str:
        self.office.raw.execute(f"DELETE FROM {table} WHERE rowid = ?", (row["rowid_"],))  # noqa: S608
        return f"{table}: dropped {row!r}"

    def edit(self, table: str, row: Values, names: list[str]) -> str | None:
        column = self.rng.choice(names)
        return self.put(table, row, **{column: self.another(table, column, row[column])})

    def another(self, table: str, column: str, value: object) -> object:
        """Another value: somebody else's, one byte of this one, nearly the same, of another kind, or none."""
        others = [row[column] for row in self.rows(table) if row[column] != value]
        nearly = value + self.rng.choice([-1, 1, 1000]) if isinstance(value, int) else f"{value or ''}x"
        return self.rng.choice([*others[:4], nearly, self.byte(value), self.byte(value), None, "", b"\x00", 1.5])

    def byte(self, value: object) -> object:
        """The text with one character changed."""
        if not isinstance(value, str) or not value:
            return value
        place = self.rng.randrange(len(value))
        letter = self.rng.choice('0123456789abcdef"{}: x')
        return value[:place] + letter + value[place + 1 :]


Change = Callable[[Hand], str | None]


def mine(hand: Hand) -> Values:
    [row] = hand.rows("action", "id = ?", hand.id)
    return row


# the action's row


def column_of_the_action(hand: Hand) -> str | None:
    free = {"rowid_", *TIMING_COLUMNS}
    row = mine(hand)
    return hand.edit("action", row, [name for name in row if name not in free])


LOOSENED: Final[Mapping[str, tuple[object, ...]]] = {
    "state": ("approved", "awaiting_approval", "executing", "unknown", "succeeded"),
    "approvers": (0, 1, -1),
    "requester": ("mallory", "tanaka", "sato", "kato"),
    "expires_at": ("2030-01-01T00:00:00.000000Z", "2026-12-31T00:00:00.000000Z"),
    "epoch": (0, 1, 7),
    "revision": (0, 1, 2, 3),
    "may_have_left": (0, 1),
    "reversed_by": ("act-forged",),
    "kind": ("document", "cancel", "bill"),
    "file_sha256": ("0" * 64, None),
    "connection": ("mfk-other", "invox-main"),
    "operation": ("mfkessai.cancel_transaction", "mfkessai.upload_document", "mfkessai.create_transaction"),
    "natural_key": ("one-0", None, "A-9"),
    "jst_day": ("2026-11-01", "2027-01-01"),
    "lease_until": ("2030-01-01T00:00:00.000000Z",),
}


def loosened(hand: Hand) -> str | None:
    """A column as an attacker would want it, together with the state that lets it run."""
    column = hand.rng.choice(sorted(LOOSENED))
    values = {"state": "approved", column: hand.rng.choice(LOOSENED[column])}
    if hand.rng.random() < 1 / 3:
        values["verdict"] = mine(hand)["verdict"].replace('"ask"', '"allow"')
    return hand.put("action", mine(hand), **values)


def loosened_verdict(hand: Hand) -> str | None:
    verdict = json.loads(mine(hand)["verdict"])
    others: list[Values] = [{"kind": "allow"}, {"approvers": 0}, {"seats": []}, {"trace": []}, {"kind": "ask"}]
    verdict |= hand.rng.choice(others)
    return hand.put("action", mine(hand), verdict=json.dumps(verdict, ensure_ascii=False), state="approved")


def _other_content(hand: Hand) -> str:
    """The canonical bytes with another amount, number, customer, account, file, maker or path."""
    content = json.loads(mine(hand)["canonical"])
    body, particulars = content["request"]["body"], content["particulars"]
    kind = hand.rng.randrange(8)
    if kind == 0:
        body["amount"] = particulars["amount"] = hand.rng.randrange(1, 50_000)
    elif kind == 1:
        body["number"] = content["natural_key"] = f"X-{hand.rng.randrange(1000)}"
    elif kind == 2:
        particulars["counterparty_id"] = "C-evil"
    elif kind == 3:
        content[hand.rng.choice(["connection", "address", "company", "environment", "provider"])] = "evil"
    elif kind == 4:
        content["edited_by"] = [hand.rng.choice(["tanaka", "sato", "kato"])]
    elif kind == 5:
        content["request"]["path"] = {"id": "evil"}
    elif kind == 6:
        content.pop("edited_by", None)
        body["memo"] = "evil"
    else:
        content["request"]["files"] = []
        body["payee"] = "evil"
    return canonical(content).decode()


def content(hand: Hand) -> str | None:
    text = hand.byte(mine(hand)["canonical"]) if hand.rng.random() < 1 / 2 else _other_content(hand)
    return hand.put("action", mine(hand), canonical=text)


def content_and_digest(hand: Hand) -> str | None:
    text = _other_content(hand)
    digest = sha256(text.encode()).hexdigest()
    return hand.put("action", mine(hand), canonical=text, digest=digest, state="approved")


def content_with_a_log_that_agrees(hand: Hand) -> str | None:
    """Even the log says so: what was voted on is still what the votes' seals are on."""
    if not hand.target.is_voted:
        return None
    text = _other_content(hand)
    said = hand.put("action", mine(hand), canonical=text, digest=sha256(text.encode()).hexdigest())
    row = mine(hand)
    with hand.office.stage.store.write() as tx:
        record = {"state": row["state"], "digest": row["digest"], "row": action_hash(row)}
        audit.append(tx, hand.office.stage.clock.now(), "approved", hand.id, **record)
    return said


def another_id(hand: Hand) -> str | None:
    return hand.put("action", mine(hand), id=f"{hand.id[:-1]}{hand.rng.choice('xyz')}", state="approved")


def another_action(hand: Hand) -> str | None:
    """A second action like it that nobody proposed."""
    row = mine(hand) | {"id": "act-forged", "natural_key": None, "call_digest": "forged", "state": "approved"}
    hand.put("action", mine(hand), state="withdrawn")  # so that the copy is the only one that could run
    for vote in hand.rows("vote", "action_id = ?", hand.id):
        hand.add("vote", vote | {"action_id": "act-forged"})
    return hand.add("action", row)


# votes, edits, operators


def column_of_a_vote(hand: Hand) -> str | None:
    row = hand.row("vote", "action_id = ?", hand.id)
    return None if row is None else hand.edit("vote", row, [name for name in row if name != "rowid_"])


def vote_dropped(hand: Hand) -> str | None:
    row = hand.row("vote", "action_id = ?", hand.id)
    return None if row is None else hand.drop("vote", row)


def vote_copied(hand: Hand) -> str | None:
    """From another action, another revision or another operator, as it is or made to fit."""
    row, action = hand.row("vote"), mine(hand)
    if row is None:
        return None
    row |= {"action_id": hand.id, "revision": action["revision"]}
    row |= {"operator": hand.rng.choice([row["operator"], "suzuki", "kato", "mori"])}
    if hand.rng.random() < 1 / 2:
        said = json.loads(row["statement"]) | {name: row[name] for name in ("revision", "operator")}
        row["statement"] = canonical(said | {"action": hand.id, "digest": action["digest"]}).decode()
    hand.put("action", action, state="approved")
    return hand.add("vote", row)


def own_vote(hand: Hand) -> str | None:
    """A vote truly sealed, by somebody with no right to it, past the gate; and the state that follows from it."""
    name, action = hand.rng.choice(sorted(hand.office.keys)), mine(hand)
    at = action["updated_at"]
    statement = canonical(
        {
            "action": hand.id, "revision": action["revision"], "digest": action["digest"], "decision": "approve",
            "reason": "", "expires_at": action["expires_at"], "operator": name, "voted_at": at, "resolved_as": None,
            "acting_for": None,
        }
    )  # fmt: skip
    vote = {"action_id": hand.id, "revision": action["revision"], "operator": name, "decision": "approve"}
    vote |= {"statement": statement.decode(), "seal": hand.office.keys[name].sign(statement), "via": "cli"}
    hand.put("action", action, requester=hand.rng.choice([name, "suzuki"]), state="approved")
    return hand.add("vote", vote | {"voted_at": at})


def rejection_turned(hand: Hand) -> str | None:
    row = hand.row("vote", "action_id = ? AND decision <> 'approve'", hand.id)
    if row is None:
        return None
    said = canonical(json.loads(row["statement"]) | {"decision": "approve"}).decode()
    hand.put("action", mine(hand), state="approved")
    return hand.put("vote", row, decision="approve", statement=hand.rng.choice([said, row["statement"]]))


def column_of_an_edit(hand: Hand) -> str | None:
    row = hand.row("revision", "action_id = ?", hand.id)
    return None if row is None else hand.edit("revision", row, [name for name in row if name != "rowid_"])


def edit_dropped_or_doubled(hand: Hand) -> str | None:
    row = hand.row("revision", "action_id = ?", hand.id)
    if row is None:
        return None
    return hand.drop("revision", row) if hand.rng.random() < 1 / 2 else hand.add("revision", row | {"revision": 9})


_UNLOCKING: Final = ("wrapped_key", "failures", "locked_until")


def column_of_an_operator(hand: Hand) -> str | None:
    row = hand.row("operator")
    free = {"rowid_", *_UNLOCKING}
    return None if row is None else hand.edit("operator", row, [name for name in row if name not in free])


def operator_dropped_or_added(hand: Hand) -> str | None:
    row = hand.row("operator")
    if row is None or hand.rng.random() < 1 / 2:
        return None if row is None else hand.drop("operator", row)
    return hand.add("operator", row | {"name": "mallory"})


def column_of_a_mandate(hand: Hand) -> str | None:
    row = hand.row("mandate")
    return None if row is None else hand.edit("mandate", row, ["seq", "statement", "seal"])


def mandate_rewritten(hand: Hand) -> str | None:
    """Another role, ceiling or key; without the seal that only its signer could make."""
    row = hand.row("mandate")
    if row is None:
        return None
    more = hand.rng.choice(
        [{"ceiling": None}, {"ceiling": 10**9}, {"roles": ["cfo"]}, {"public_key": "00" * 32}, {"by": "kato"}]
    )
    return hand.put("mandate", row, statement=canonical(json.loads(row["statement"]) | more).decode())


def newest_mandate_dropped(hand: Hand) -> str:
    return hand.drop("mandate", hand.rows("mandate")[-1])


def mandates_swapped_or_doubled(hand: Hand) -> str | None:
    one, other = hand.rng.sample(hand.rows("mandate"), 2)
    if hand.rng.random() < 1 / 2:
        return hand.add("mandate", one | {"seq": 99})
    return hand.put("mandate", one, statement=other["statement"], seal=other["seal"])


# the log


_LEANED_ON: Final = "kind IN ('approved', 'sealed', 'edited', 'rejected', 'withdrawn', 'succeeded')"


def record_of_the_log(hand: Hand) -> str | None:
    """A record that an execution leans on, dropped or rewritten, the chain after it made to fit or not."""
    row = hand.row("audit", f"action_id = ? AND {_LEANED_ON}", hand.id)
    if row is None:
        return None
    if hand.rng.random() < 1 / 2:
        said = hand.drop("audit", row)
    else:
        said = hand.put("audit", row, record=hand.rng.choice(["{}", "x", "[]", '{"state":"approved"}'])) or ""
    hand.put("action", mine(hand), state="approved")
    if hand.rng.random() < 1 / 2:
        restamp(hand.office.raw)
        said += ", restamped"
    return said


# files, connections, facts, clock


_EVERYTHING: Final = 'why = "now"\noperation = ["mfkessai.create_transaction", "mfkessai.upload_document"]\n'
_STRICTER: Final = (
    f'[[deny]]\nid = "nothing"\n{_EVERYTHING}',
    f'[[ask]]\nid = "three"\napprovers = 3\n{_EVERYTHING}',
    "x",
    "[[deny]]\n",
)


def stricter_policy(hand: Hand) -> str | None:
    place, kind = hand.settings.policy_file, hand.rng.randrange(len(_STRICTER) + 3)
    if kind < len(_STRICTER):
        place.write_text(POLICY + _STRICTER[kind], encoding="utf-8")
        return f"policy: {_STRICTER[kind]!r} added"
    if kind == len(_STRICTER):
        place.unlink()
        return "policy: gone"
    if kind == len(_STRICTER) + 1:
        place.write_bytes(POLICY.replace("too large", "大").encode("utf-16"))
        return "policy: not UTF-8"
    place.write_text(POLICY.replace('["mfkessai.create_transaction", "mfkessai.upload_document"]', "[]", 1))
    return "policy: knows no operation"


def exhausted_limit(hand: Hand) -> str | None:
    """Another action, never decided, that is as if it had been billed today: the day's limit is used up."""
    if hand.target.name in {"half", "uploaded"}:  # the other action itself; and a document has no amount
        return None
    [other] = hand.rows("action", "state = 'awaiting_approval'")
    day = hand.target.action.jst_day
    return hand.put("action", other, amount=hand.rng.randrange(50_000_000, 10**9), state="succeeded", jst_day=day)


def duplicate(hand: Hand) -> str | None:
    """Another action with the same customer, amount and date."""
    row = mine(hand)
    if hand.target.name in {"half", "uploaded"}:
        return None
    [other] = hand.rows("action", "state = 'awaiting_approval'")
    same = ("amount", "counterparty_id", "counterparty_key", "transaction_date", "kind")
    return hand.put("action", other, **{name: row[name] for name in same})


def connection(hand: Hand) -> str | None:
    [row] = hand.settings.connections
    fields: tuple[dict[str, Any], ...] = (
        {"base_url": "http://127.0.0.1:2/v2"}, {"company": "株式会社別"}, {"environment": "production"},
        {"provider": "invox"}, {"name": "mfk-other"},
    )  # fmt: skip
    changed = hand.rng.choice(fields)
    hand.settings = replace(hand.settings, connections=(replace(row, **changed),) if hand.rng.random() < 0.9 else ())
    return f"connection: {changed}"


def read_only(hand: Hand) -> str:
    hand.settings = replace(hand.settings, is_read_only=True)
    return "settings: read-only"


def expiry(hand: Hand) -> str:
    over = moment(hand.target.action.expires_at)
    hand.office.stage.clock.at = over + timedelta(seconds=hand.rng.choice([0, 1, 60, 10**6]))
    return f"clock: {hand.office.stage.clock.at}"


def kill_switch(hand: Hand) -> str:
    freezing.freeze(hand.office.stage.store, hand.office.stage.clock, os_user="x", operator=None, reason="stop")
    if hand.rng.random() < 1 / 2:
        return "frozen"
    forged = {"seq": 2, "kind": "lifted", "at": "2026-11-21T03:00:00.000000Z", "os_user": "x", "operator": "tanaka"}
    return hand.add("freeze", forged | {"reason": "", "seal": "00" * 64})


def document(hand: Hand) -> str | None:
    """The kept bytes: one changed, cut, longer, or gone."""
    if hand.target.name != "uploaded":
        return None
    [file] = hand.target.action.request.files
    place = hand.office.files / file.sha256
    was, at = place.read_bytes(), hand.rng.randrange(file.size)
    now = hand.rng.choice([was[:at] + bytes([was[at] ^ 1]) + was[at + 1 :], was[:at], was + b"x", None])
    place.unlink()
    if now is not None:
        place.write_bytes(now)
    return f"document: {now!r}"


MUST_STOP: Final[tuple[Change, ...]] = (
    column_of_the_action, column_of_the_action, column_of_the_action, loosened, loosened, loosened_verdict, content,
    content_and_digest, content_with_a_log_that_agrees, another_id, another_action, column_of_a_vote, column_of_a_vote,
    vote_dropped, vote_copied, own_vote, rejection_turned, column_of_an_edit, edit_dropped_or_doubled,
    column_of_an_operator, operator_dropped_or_added, column_of_a_mandate, mandate_rewritten, newest_mandate_dropped,
    mandates_swapped_or_doubled, record_of_the_log, stricter_policy, exhausted_limit, duplicate, connection, read_only,
    expiry, kill_switch, document,
)  # fmt: skip


# changes that cannot matter


def nothing(_hand: Hand) -> str:
    return "nothing"


def waiting_time(hand: Hand) -> str | None:
    return hand.edit("action", mine(hand), list(TIMING_COLUMNS))


def unlocking(hand: Hand) -> str | None:
    row = hand.row("operator")
    return None if row is None else hand.edit("operator", row, list(_UNLOCKING))


HARMLESS: Final[Mapping[Change, str]] = {
    nothing: "Nothing was changed: it has to be sent, or this test would pass for a gate that sends nothing.",
    waiting_time: "When to look again, and when the row last moved: no decision is about them, and neither lets an"
    " action run twice or late, for state, epoch and expiry are checked by themselves.",
    unlocking: "An operator's key as their passphrase wraps it, and the count of wrong ones: they open the key before"
    " a vote; the votes that were cast are held against the public key, which is sealed elsewhere.",
}
"""The changes after which what was approved may still be sent, byte for byte; each with the reason."""
