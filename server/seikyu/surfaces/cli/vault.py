"""`seikyu vault`: which key seals the stored logins, a new one while all runs, and giving up what no key opens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from seikyu.errors import NOTHING, InvalidArguments, NotAllowed, Text
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.freezing import os_user
from seikyu.surfaces.cli.house import House
from seikyu.surfaces.cli.login import is_asking
from seikyu.surfaces.cli.options import AS_JSON

if TYPE_CHECKING:
    from seikyu.vault.holdings import Holding
    from seikyu.vault.rotation import Custody, Rotated


@click.group("vault")
def group() -> None:
    """マスターキー / The master key and what it seals."""


@group.command()
@AS_JSON
@click.pass_obj
def status(house: House, *, as_json: bool) -> None:
    """鍵と、それで封印したもの / Which keys there are, and which secret is sealed with which."""
    custody = house.rotation(os_user()).custody()
    if as_json:
        screen.print_json(_custody_json(custody))
        return
    place = custody.place.place
    screen.say(Text(f"鍵の場所: {place.ja}", f"The key is in: {place.en}"), house.lang)
    labels = Text("鍵 役割 件数", "key use secrets").say(house.lang).split()
    rows = [
        (key.id, _role(custody, at).say(house.lang), str(len(custody.needing(key))))
        for at, key in enumerate(custody.ring.keys)
    ]
    screen.table(Text("マスターキー", "Master keys").say(house.lang), labels, rows, right=[2])
    _show(house, Text("秘密情報", "Secrets"), custody.holdings)


def _role(custody: Custody, at: int) -> Text:
    if at == 0:
        return Text("封印する", "seals")
    needed = custody.needing(custody.ring.keys[at])
    return Text("開くだけ", "only opens") if needed else Text("不要（外せます）", "nothing needs it; may be dropped")


@group.command()
@click.option("--no-new-key", is_flag=True, help="鍵束の先頭の鍵で封印し直すだけ / only seal with the ring's first key")
@click.option(
    "--sole-machine", is_flag=True, help="このデータベースを使うのはこのマシンだけ / no other machine uses the database"
)
@click.option(
    "--drop-retired", is_flag=True, help="不要になった鍵を外す / take out the keys that nothing needs any more"
)
@AS_JSON
@click.pass_obj
def rotate(house: House, *, no_new_key: bool, sole_machine: bool, drop_retired: bool, as_json: bool) -> None:
    """鍵の交換 / Seal everything with a new master key, while servers go on. Ends with 1 when something is left."""
    from seikyu.vault.holdings import WHY

    if drop_retired and (no_new_key or sole_machine):
        raise InvalidArguments(
            Text("--drop-retired は単独で使います。", "--drop-retired stands alone."),
            Text("先に交換し、後で外してください。", "Rotate first; drop later."),
        )
    rotation = house.rotation(os_user())
    progress = _silent if as_json else partial(_say_progress, house)
    if drop_retired:
        done = rotation.drop(on_progress=progress)
    else:
        done = rotation.rotate(makes_key=not no_new_key, is_sole_machine=sole_machine, on_progress=progress)
    if as_json:
        screen.print_json(_rotated_json(done))
    else:
        _say_done(house, done, is_dropping=drop_retired)
        for row in done.left:
            why = WHY[row.standing]
            screen.say(Text(f"残り: {row.name} — {why.ja}", f"Left: {row.name} — {why.en}"), house.lang, "yellow")
    if done.left:
        if not as_json:
            _say_left(house)
        raise SystemExit(1)


@group.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="確かめずに消す / do not ask")
@click.pass_obj
def forget(house: House, name: str, *, force: bool) -> None:
    """開けないものを諦める / Give up a secret that no key opens; what opens is never deleted by this."""
    rotation = house.rotation(os_user())
    if not force:
        _ask(house, name)
    rotation.forget(name)
    screen.say(Text(f"{name} を消しました。", f"Forgot {name}."), house.lang, "green")
    if name == "house/seal":
        said = Text(
            "Slack の利用者を `seikyu operator slack` で対応させ直してください。",
            "Link each Slack user again with `seikyu operator slack`.",
        )
        screen.say(said, house.lang)


def _ask(house: House, name: str) -> None:
    """Raises `NotAllowed`: nobody said yes."""
    asked = Text(
        f"{name} を消しますか（鍵が見つかっても戻せません）", f"Delete {name}? Not even its key could bring it back"
    )
    if is_asking() and screen.agrees(asked, house.lang):
        return
    raise NotAllowed(
        Text("何も消していません。", "Nothing was forgotten."),
        Text(
            f"消すには `seikyu vault forget {name} --force`。", f"To forget it: `seikyu vault forget {name} --force`."
        ),
        written=NOTHING,
    )


def _silent(_done: int, _total: int) -> None:
    pass


def _say_progress(house: House, done: int, total: int) -> None:
    said = Text(f"{done} / {total} 件を封印し直しました", f"sealed anew: {done} of {total}")
    screen.console(stderr=True).print(said.say(house.lang), style="dim")


def _say_done(house: House, done: Rotated, *, is_dropping: bool) -> None:
    key, count = done.custody.ring.current.id, len(done.resealed)
    screen.say(
        Text(f"{count} 件を鍵 {key} で封印し直しました。", f"Sealed {count} secret(s) anew with key {key}."),
        house.lang,
        "green",
    )
    if done.is_new:
        place = done.custody.place.place
        screen.say(
            Text(
                f"新しい鍵は {place.ja} にあります。控えを取ってください。以前の鍵も開くために残っています。",
                f"The new key is in {place.en}; keep a copy of it. The former one is kept, to open with.",
            ),
            house.lang,
        )
    if is_dropping:
        _say_dropped(house, done)


def _say_dropped(house: House, done: Rotated) -> None:
    ids = ", ".join(key.id for key in done.dropped) or "—"
    if all(done.custody.ring.by_id(key.id) is None for key in done.dropped):
        said = Text(f"外した鍵: {ids}", f"Dropped: {ids}")
    else:
        place = done.custody.place.place
        said = Text(
            f"使わなくなった鍵: {ids}。{place.ja} から外してください。",
            f"No longer needed: {ids}. Take them out of {place.en}.",
        )
    screen.say(said, house.lang)
    screen.say(
        Text(
            "以前のバックアップを戻すには、外した鍵の控えが要ります。",
            "Keep your copy of a dropped key for as long as you keep backups from its time.",
        ),
        house.lang,
        "dim",
    )


def _say_left(house: House) -> None:
    screen.say(
        Text(
            "残りはそのままで、必要な鍵も残っています。更新中のものは少し待ってもう一度実行してください。開けないものの"
            "次の手順は `seikyu doctor` が示します。",
            "What is left is as it was, and so are the keys it needs. Run this again for what is being renewed; what to"
            " do about what does not open, `seikyu doctor` says.",
        ),
        house.lang,
    )


def _show(house: House, title: Text, rows: Sequence[Holding]) -> None:
    from seikyu.vault.holdings import WHY

    labels = Text("名前 提供元 種類 鍵 状態", "name provider kind key state").say(house.lang).split()
    told = [(row.name, row.provider, row.kind, row.key_id, WHY[row.standing].say(house.lang)) for row in rows]
    screen.table(title.say(house.lang), labels, told)


def _custody_json(custody: Custody) -> dict[str, Any]:
    keys = [
        {"id": key.id, "seals": at == 0, "secrets": len(custody.needing(key))}
        for at, key in enumerate(custody.ring.keys)
    ]
    return {"source": custody.place.kind, "keys": keys, "secrets": [_holding_json(row) for row in custody.holdings]}


def _holding_json(row: Holding) -> dict[str, str]:
    said = {"name": row.name, "provider": row.provider, "kind": row.kind, "key_id": row.key_id}
    return said | {"state": row.standing.value}


def _rotated_json(done: Rotated) -> dict[str, Any]:
    return {
        "key_id": done.custody.ring.current.id,
        "is_new": done.is_new,
        "resealed": list(done.resealed),
        "dropped": [key.id for key in done.dropped],
        "left": [_holding_json(row) for row in done.left],
        "keys": _custody_json(done.custody)["keys"],
    }
