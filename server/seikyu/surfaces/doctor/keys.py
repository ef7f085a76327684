"""The master key: where it is, and whether it opens everything that was sealed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from seikyu.errors import ConfigurationError, LoginRequired, SeikyuError, StoreDamaged, Text
from seikyu.models import shown
from seikyu.surfaces.doctor.findings import Finding, Findings, failed, fault, note, ok
from seikyu.surfaces.doctor.patient import Patient
from seikyu.vault.keepsakes import SEALING_KEY, Place, slack_place, webhook_place
from seikyu.vault.keys import KeyPlaces, KeyRing

_BACK: Final = Text(
    "元の鍵を控えから戻してください。なければ seikyu connect で接続し直します。",
    "Put the former key back from your copy; without one, connect those accounts again.",
)


def look_at_key(patient: Patient) -> Findings:
    """The source, and that it can be read."""
    settings = patient.settings
    is_asked = settings.master_key or settings.master_key_command or settings.master_key_source == "keyring"
    if not is_asked and not (settings.home / "master.key").exists():
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
        ring = patient.key_places()
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


def _where(places: KeyPlaces) -> Text:
    try:
        return places.sole().place
    except ConfigurationError:  # in two places, which agree
        return Text("2か所", "two places that agree")


def look_at_rows(patient: Patient) -> Findings:
    """Every sealed row: by the key that is named in it, then by opening those whose place is known."""
    with patient.store.read() as tx:
        rows = tx.all("sealed_rows")
    if not rows:
        yield ok("key.rows", Text("封印された秘密はありません。", "Nothing is sealed yet."))
        return
    try:
        ring = patient.key_places()
    except ConfigurationError:
        yield _no_key(len(rows))
        return
    foreign = [str(row["connection"]) for row in rows if ring.by_id(row["key_id"]) is None]
    spoilt = [name for name in _spoilt(patient) if name not in foreign]
    yield from _told(ring, foreign, spoilt)
    if not foreign and not spoilt:
        count = len(rows)
        yield ok(
            "key.rows", Text(f"封印された秘密{count}件が開きます。", f"Everything that is sealed opens ({count}).")
        )


def _no_key(count: int) -> Finding:
    return fault(
        "key.rows",
        Text(f"封印された秘密{count}件を開く鍵がありません。", f"No key opens the {count} sealed secret(s)."),
        _BACK,
    )


def _told(ring: KeyRing, foreign: Sequence[str], spoilt: Sequence[str]) -> Findings:
    for name in foreign:
        yield fault(
            "key.rows",
            Text(
                f"{shown(name)} は別のマスターキーで封印されています（手元は {ring.current.id}）。",
                f"{shown(name)} is sealed with another master key (ours is {ring.current.id}).",
            ),
            _BACK,
            about=name,
        )
    for name in spoilt:
        yield fault(
            "key.rows",
            Text(
                f"{shown(name)} は開きません。記録か接続先が変わっています。",
                f"{shown(name)} does not open: its row or its address has changed.",
            ),
            Text("接続先を元に戻すか、接続し直してください。", "Put the address back, or connect it again."),
            about=name,
        )


def _spoilt(patient: Patient) -> list[str]:
    settings, vault = patient.settings, patient.vault
    accounts = [row.name for row in settings.connections if vault.state(row) == "undecryptable"]
    places: list[Place] = [SEALING_KEY, *(webhook_place(row) for row in settings.connections)]
    if settings.slack is not None:
        places.append(slack_place(settings.slack))
    return [*accounts, *(place.name for place in places if not _opens(patient.keepsakes.get, place))]


def _opens(get: Callable[[Place], object], place: Place) -> bool:
    try:
        get(place)
    except StoreDamaged:
        return False
    except (LoginRequired, SeikyuError):
        return True  # told by other checks
    return True
