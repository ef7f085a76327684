"""`seikyu outbox`: what people were told, what is still on its way, and what reached nobody."""

from __future__ import annotations

from typing import Any, Final

import click

from seikyu.errors import Text
from seikyu.gate.cards import japan_time
from seikyu.models import shown
from seikyu.store.database import Row
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.house import House
from seikyu.surfaces.cli.options import AS_JSON

STATES: Final = {
    "waiting": Text("送信待ち", "waiting"),
    "delivered": Text("送信済み", "delivered"),
    "given_up": Text("断念", "given up"),
    "moot": Text("不要", "not needed any more"),
}


@click.command()
@click.option("--state", type=click.Choice(list(STATES)), help="この状態だけ / only in this state")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="件数 / how many at most")
@AS_JSON
@click.pass_obj
def outbox(house: House, *, state: str | None, limit: int, as_json: bool) -> None:
    """通知の状況 / Notices: delivered, on their way, given up."""
    from seikyu.gate.outbox import listing

    rows, counts = listing(house.rooms().store, state=state, limit=limit)
    total = sum(count["total"] for count in counts if state in (None, count["state"]))
    if as_json:
        said = [_json(row) for row in rows]
        screen.print_json({"notices": said, "returned": len(said), "total": total, "counts": [dict(c) for c in counts]})
    else:
        _show(house, rows, counts, total)


def _json(row: Row) -> dict[str, Any]:
    names = ("channel", "id", "kind", "action_id", "at", "state", "tries", "not_before", "ended_at", "fault")
    return {name: row[name] for name in names} | {"text": {"ja": row["ja"], "en": row["en"]}}


def _show(house: House, rows: list[Row], counts: list[Row], total: int) -> None:
    labels = Text("日時 通知先 状態 回数 内容", "time channel state tries text").say(house.lang).split()
    title = Text(f"{len(rows)} / {total}件", f"{len(rows)} / {total} notices").say(house.lang)
    screen.table(title, labels, [_row(house, row) for row in rows], right=[3])
    for count in counts:
        stands = STATES[count["state"]].say(house.lang)
        screen.say(Text(*[f"{count['channel']}: {stands} {count['total']}"] * 2), house.lang, "dim")


def _row(house: House, row: Row) -> tuple[str, ...]:
    said = Text(row["ja"], row["en"]).say(house.lang)
    why = "" if row["fault"] is None else f" — {shown(row['fault'], 100)}"
    return japan_time(row["at"]), row["channel"], STATES[row["state"]].say(house.lang), str(row["tries"]), said + why
