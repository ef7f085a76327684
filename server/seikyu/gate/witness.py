"""The log as a witness: what it says each action and each vote is, held against their rows.

Every log row about a change carries the hash of the whole row it left behind, so that a row that was changed behind
the log's back is found, whichever column it was.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from seikyu.errors import Text
from seikyu.gate.canonical import flat_sha256, sha256
from seikyu.gate.papers import Papers
from seikyu.models import moment
from seikyu.store.database import Row, Tx

ACTION_COLUMNS: Final = (
    "id", "revision", "state", "tool", "operation", "kind", "connection", "requester", "surface", "call_digest",
    "canonical", "digest", "natural_key", "amount", "counterparty_id", "counterparty_key", "transaction_date",
    "file_sha256", "notes", "verdict", "approvers", "created_at", "jst_day", "expires_at", "epoch", "lease_owner",
    "lease_until", "unsent_tries", "unknown_since", "may_have_left", "reference", "provider_facts", "outcome",
    "reversed_by", "business_day", "destination", "arguments", "taken_up",
)  # fmt: skip
"""A column that is added later must be empty in old rows: what is empty does not count into the hash."""

TIMING_COLUMNS: Final = ("not_before", "updated_at")
"""Moved without a log row while an action waits for its next look; they count once it is over."""

ROW_COLUMNS: Final = (*ACTION_COLUMNS, *TIMING_COLUMNS)
"""Every column of an action."""

VOTE_COLUMNS: Final = ("action_id", "revision", "operator", "decision", "statement", "seal", "via", "voted_at")

MANDATE_COLUMNS: Final = ("seq", "statement", "seal")

OPERATOR_COLUMNS: Final = (
    "name", "public_key", "wrapped_key", "enrolled_at", "endorsed_by", "endorsement", "removed_at", "removed_by",
)  # fmt: skip
"""All but the count of wrong passphrases."""

LINK_COLUMNS: Final = ("seq", "operator", "statement", "seal", "vouched_by", "vouch")

REVISION_COLUMNS: Final = ("action_id", "revision", "editor", "call_digest", "statement", "seal")

WAITING: Final = frozenset({"awaiting_approval", "approved", "executing", "unknown", "manual_review"})

_PAGE: Final = 1000


def action_hash(row: Mapping[str, Any]) -> str:
    """Of everything an action's row says."""
    names = ACTION_COLUMNS if row["state"] in WAITING else ROW_COLUMNS
    return _hash(row, names)


def vote_hash(row: Mapping[str, Any]) -> str:
    """Of everything a vote's row says."""
    return _hash(row, VOTE_COLUMNS)


def mandate_hash(row: Mapping[str, Any]) -> str:
    """Of everything a mandate's row says."""
    return _hash(row, MANDATE_COLUMNS)


def operator_hash(row: Mapping[str, Any]) -> str:
    """Of everything an operator's row says for good."""
    return _hash(row, OPERATOR_COLUMNS)


def link_hash(row: Mapping[str, Any]) -> str:
    """Of everything a Slack link's row says."""
    return _hash(row, LINK_COLUMNS)


def revision_hash(row: Mapping[str, Any]) -> str:
    """Of everything an edit's row says."""
    return _hash(row, REVISION_COLUMNS)


def _hash(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return flat_sha256(*((name, row[name]) for name in names if row[name] is not None))


class Witness:
    """Hears every row of the log once, then looks at what there is."""

    def __init__(self) -> None:
        self._said: dict[str, dict[str, Any]] = {}
        self._sealed: Counter[tuple[str, str]] = Counter()
        self._mandates: dict[int, str] = {}
        self._operators: dict[str, str] = {}
        self._links: list[str] = []
        self._edited: Counter[tuple[str, str]] = Counter()
        self._unreadable: list[Text] = []

    def hear(self, row: Row) -> None:
        """A row of a chain that holds, in order."""
        record, action_id = _record(row), row["action_id"]
        if record is None:
            self._unreadable.append(_unreadable(row["seq"]))
        if record is not None and "mandate_sha256" in record and action_id is None:
            self._mandates[record["mandate"]] = record["mandate_sha256"]
            self._operators[record["name"]] = record["row"]
        if record is not None and row["kind"] in {"slack.linked", "slack.unlinked"}:
            self._links.append(str(record.get("row")))
        if record is None or action_id is None:
            return
        if "state" in record:
            self._said[action_id] = {name: record[name] for name in ("state", "digest", "row") if name in record}
        if row["kind"] == "sealed":
            self._hear_vote(action_id, record)
        if row["kind"] == "edited" or "edit" in record:
            self._edited[action_id, str(record.get("edit"))] += 1
        if row["kind"] == "taken_up":
            self._hear_taken_up(action_id, record)

    def _hear_taken_up(self, action_id: str, record: Mapping[str, Any]) -> None:
        """Its edits are those it was sent with; those made in between have other numbers from here on."""
        self._edited.update((action_id, str(edit)) for edit in record.get("edits", ()))
        self._edited.subtract((action_id, str(edit)) for edit in record.get("set_aside", ()))

    def _hear_vote(self, action_id: str, record: Mapping[str, Any]) -> None:
        # logs from before there were anchors name a vote by its statement only
        self._sealed[action_id, str(record.get("vote") or record.get("statement_sha256"))] += 1

    def faults(self, tx: Tx) -> list[Text]:
        """Every action, vote and edit that is not what the log says."""
        votes, edits = tx.all("every_vote"), tx.all("every_revision")
        of_people = [*self._operator_faults(tx), *self._link_faults(tx)]
        of_actions = [*self._action_faults(tx), *self._vote_faults(votes), *self._edit_faults(edits)]
        return [*self._unreadable, *of_actions, *of_people]

    def faults_of(self, row: Row, papers: Papers) -> list[Text]:
        """The same of one action, when only its own rows of the log were heard."""
        of_row = [] if self.is_as_said(row) else [_changed(str(row["id"]))]
        return [*self._unreadable, *of_row, *self._vote_faults(papers.votes), *self._edit_faults(papers.edits)]

    def is_as_said(self, row: Row) -> bool:
        """Whether an action's own row is what the log last said."""
        said = self._said.get(row["id"])
        return said is not None and _agree(row, said)

    def row_of(self, action_id: str) -> str:
        """The hash of the action's row when the log last spoke of it; no row has the hash of one it never spoke of."""
        return str(self._said.get(action_id, {}).get("row", ""))

    def _edit_faults(self, edits: Sequence[Row]) -> list[Text]:
        there = Counter(_edit_key(row) for row in edits)
        wrong = {action_id for action_id, _ in (there - self._edited) + (self._edited - there)}
        return [_edit_changed(action_id) for action_id in sorted(wrong)]

    def _action_faults(self, tx: Tx) -> list[Text]:
        found, after, missing = list[Text](), "", set(self._said)
        while page := tx.all("actions_after", after=after, limit=_PAGE):
            for row in page:
                said = self._said.get(row["id"])
                missing.discard(row["id"])
                if said is None or not _agree(row, said):
                    found.append(_changed(str(row["id"])))
            after = page[-1]["id"]
        return [*found, *(_missing(action_id) for action_id in sorted(missing))]

    def _vote_faults(self, votes: Sequence[Row]) -> list[Text]:
        open_, strangers = Counter(self._sealed), list[str]()
        for row in votes:
            key = next((key for key in _vote_keys(row) if open_[key] > 0), None)
            if key is None:
                strangers.append(str(row["action_id"]))
            else:
                open_[key] -= 1
        gone = [action_id for (action_id, _), left in open_.items() if left > 0]
        return [_vote_changed(action_id) for action_id in sorted({*strangers, *gone})]

    def _operator_faults(self, tx: Tx) -> list[Text]:
        """Mandates and operators that are not those the log says."""
        mandates = {row["seq"]: _or_unreadable(mandate_hash, row) for row in tx.all("mandates")}
        operators = {row["name"]: _or_unreadable(operator_hash, row) for row in tx.all("every_operator")}
        numbers = {seq for seq in {*mandates, *self._mandates} if mandates.get(seq, "") != self._mandates.get(seq)}
        names = {
            name for name in {*operators, *self._operators} if operators.get(name, "") != self._operators.get(name)
        }
        return [*map(_mandate_changed, sorted(numbers, key=str)), *map(_operator_changed, sorted(names, key=str))]

    def _link_faults(self, tx: Tx) -> list[Text]:
        rows = tx.all("slack_links")
        if len(rows) == len(self._links) and all(map(_is_link, rows, self._links)):
            return []
        return [Text("Slack との対応が記録と一致しません", "the Slack links are not those the log says")]


def _or_unreadable(hash_of: Callable[[Mapping[str, Any]], str], row: Row) -> str:
    try:
        return hash_of(row)
    except (ValueError, TypeError):  # a value of a kind no row has
        return "unreadable"


def _mandate_changed(seq: int) -> Text:
    return Text(f"権限の記録 {seq} が履歴と一致しません", f"mandate {seq} is not what the log says it is")


def _operator_changed(name: str) -> Text:
    return Text(f"操作者 {name} が履歴と一致しません", f"operator {name} is not what the log says they are")


def _is_link(row: Row, said: str) -> bool:
    try:
        return link_hash(row) == said
    except ValueError:
        return False


def _record(row: Row) -> dict[str, Any] | None:
    try:
        record: object = json.loads(row["record"])
    except ValueError:
        return None
    return cast("dict[str, Any]", record) if isinstance(record, dict) else None


def _unreadable(seq: int) -> Text:
    return Text(f"記録 {seq} を読めません", f"record {seq} cannot be read")


def _agree(row: Row, said: Mapping[str, Any]) -> bool:
    try:
        is_same = row["state"] == said["state"] and row["digest"] == said["digest"]
        is_whole = sha256(row["canonical"].encode()) == row["digest"]
        is_as_hashed = "row" not in said or action_hash(row) == said["row"]
        return is_same and is_whole and is_as_hashed and _is_timed(row)
    except (ValueError, KeyError, AttributeError, TypeError):  # a value of a kind no action has
        return False


def _is_timed(row: Row) -> bool:
    """Raises for what is no time: two columns that do not count into the hash still have to be read."""
    return all(moment(row[name]) for name in TIMING_COLUMNS if row[name] is not None)


def _vote_keys(row: Row) -> list[tuple[str, str]]:
    try:
        hashes = [vote_hash(row), sha256(row["statement"].encode())]
    except (ValueError, AttributeError):
        return []
    return [(row["action_id"], hash_) for hash_ in hashes]


def _edit_key(row: Row) -> tuple[str, str]:
    try:
        return str(row["action_id"]), revision_hash(row)
    except ValueError:  # a value of a kind no edit has
        return str(row["action_id"]), ""


def _edit_changed(action_id: str) -> Text:
    return Text(
        f"申請 {action_id} の修正が記録と一致しません", f"the edits of action {action_id} are not those the log says"
    )


def _changed(action_id: str) -> Text:
    return Text(
        f"申請 {action_id} が、記録にない形で変更されています", f"action {action_id} is not what the log says it is"
    )


def _missing(action_id: str) -> Text:
    return Text(f"記録にある申請 {action_id} がありません", f"action {action_id} is in the log and nowhere else")


def _vote_changed(action_id: str) -> Text:
    return Text(
        f"申請 {action_id} の決定が記録と一致しません", f"the votes on action {action_id} are not those the log says"
    )
