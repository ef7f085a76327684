"""The master key: where it is, and whether it opens everything that was sealed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from seikyu.errors import ConfigurationError, Text
from seikyu.models import shown
from seikyu.surfaces.doctor.findings import Finding, Findings, failed, fault, note, ok
from seikyu.surfaces.doctor.patient import Patient
from seikyu.vault.holdings import WHY, Holding, Standing
from seikyu.vault.keepsakes import mending
from seikyu.vault.keys import FILE_NAME, KeyPlaces

_BACK: Final = Text(
    "元の鍵を控えから戻してください。なければ seikyu connect で接続し直します。",
    "Put the former key back from your copy; without one, connect those accounts again.",
)


def look_at_key(patient: Patient) -> Findings:
    """The source, and that it can be read."""
    if _is_absent(patient):
        yield note(
            "key.source",
            Text("マスターキーはまだありません。", "There is no master key yet."),
            Text(
                "最初の seikyu connect で作られます。以前あったなら控えから戻してください。",
                "The first `seikyu connect` makes one; if there was one, put it back from your copy.",
            ),
        )
        return
    try:
        ring = patient.ring()
    except ConfigurationError as error:
        yield failed("key.source", error)
        return
    where, more = _where(patient.key_places), len(ring.retired)
    retired = Text(f"、以前の鍵{more}本", f", and {more} former key(s)") if more else Text("", "")
    yield ok(
        "key.source",
        Text(
            f"マスターキーは {where.ja} にあります（鍵 {ring.current.id}{retired.ja}）。",
            f"The master key is in {where.en} (key {ring.current.id}{retired.en}).",
        ),
    )


def _is_absent(patient: Patient) -> bool:
    """Whether there is no key anywhere; one that cannot be read is another matter."""
    settings = patient.settings
    is_given = settings.master_key or settings.master_key_command or settings.master_key_source == "keyring"
    return not is_given and not os.path.lexists(settings.home / FILE_NAME)


def tell_what_is_unasked(_patient: Patient) -> Findings:
    """A program may ask a key service."""
    yield note(
        "key.unasked",
        Text(
            "鍵を出力するプログラムは実行していません（--offline）。",
            "The program that prints the master key was not run (--offline): what it opens is not known.",
        ),
    )


def _where(places: KeyPlaces) -> Text:
    try:
        return places.sole().place
    except ConfigurationError:  # in two places, which agree
        return Text("2か所", "two places that agree")


def look_at_rows(patient: Patient) -> Findings:
    """Every sealed row: whether it opens, and with the key that seals today."""
    with patient.store.read() as tx:
        rows = tx.all("secrets")
    if not rows:
        yield ok("key.rows", Text("封印された秘密はありません。", "Nothing is sealed yet."))
        return
    try:
        ring = patient.ring()
    except ConfigurationError:
        yield _no_key(len(rows)) if _is_absent(patient) else _untried(len(rows))
        return
    found = [patient.appraiser.holding(row, ring) for row in rows]
    for holding in found:
        if holding.standing in _BAD:
            yield _bad(holding)
    yield from _left_over(found)
    opens = sum(1 for holding in found if holding.plain is not None)
    if opens == len(found):
        yield ok(
            "key.rows", Text(f"封印された秘密{opens}件が開きます。", f"Everything that is sealed opens ({opens}).")
        )


def _no_key(count: int) -> Finding:
    return fault(
        "key.rows",
        Text(f"封印された秘密{count}件を開く鍵がありません。", f"No key opens the {count} sealed secret(s)."),
        _BACK,
    )


def _untried(count: int) -> Finding:
    return note(
        "key.rows",
        Text(f"封印された秘密{count}件は試していません。", f"The {count} sealed secret(s) could not be tried."),
        Text("先にマスターキーを直してください。", "Mend the master key first."),
    )


def _bad(holding: Holding) -> Finding:
    name, why = shown(holding.name, 60), WHY[holding.standing]
    first, command = _BAD[holding.standing], shown(mending(holding.name), 100)
    step = first + Text(f"できなければ `{command}` を実行します。", f"if that cannot be: `{command}`.")
    key = shown(holding.key_id, 16)
    return fault(
        "key.rows", Text(f"{name}: {why.ja}（{key}）。", f"{name}: {why.en} ({key})."), step, about=holding.name
    )


def _left_over(found: Sequence[Holding]) -> Findings:
    """What opens, and could be tidied up."""
    strange = [shown(holding.name, 60) for holding in found if holding.standing is Standing.UNCONFIGURED]
    old = sum(1 for holding in found if holding.standing is Standing.RETIRED)
    if strange:
        listed = ", ".join(strange)
        yield note(
            "key.leftover",
            Text(
                f"connections.toml にない秘密が残っています: {listed}", f"Not in connections.toml any more: {listed}."
            ),
            Text(
                "使うなら connections.toml に戻し、使わないなら戻してから seikyu disconnect で消します。",
                "Put it back there if it is used; else put it back and run `seikyu disconnect`.",
            ),
        )
    if old:
        yield note(
            "key.retired",
            Text(f"以前の鍵で封印された秘密が{old}件あります。", f"{old} secret(s) are sealed with a former key."),
            Text("seikyu vault rotate --no-new-key で封印し直します。", "Run `seikyu vault rotate --no-new-key`."),
        )


_BAD: Final = {
    Standing.UNKNOWN_KEY: Text(
        "その鍵を控えから今の鍵の後に加えてください。", "Add that key from your copy, after the present one;"
    ),
    Standing.UNREADABLE: Text("接続先を元に戻してください。", "Put its address back, or the row from a backup;"),
}
"""Rows that nobody can open, and what to do."""
