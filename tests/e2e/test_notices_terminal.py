"""What a person sees of notices and of anchors on their way, in a terminal."""

from __future__ import annotations

import sys
from dataclasses import replace

import anyio

from e2e.terminal import Terminal
from gate.messenger import PretendChannel
from seikyu.app import Home
from seikyu.errors import NotDelivered, Text
from seikyu.gate.delivery import Delivery
from seikyu.gate.gathering import Gathering
from seikyu.gate.notices import Notice
from seikyu.gate.outbox import Outbox
from seikyu.gate.reminders import Reminders
from seikyu.settings import Timing
from seikyu.store.presence import Presence


async def is_down(_notice: Notice) -> None:
    raise NotDelivered(Text("不通", "no route"))


def deliver(terminal: Terminal, channel: PretendChannel) -> None:
    """One round of a server."""
    home = terminal.home
    store, clock, timing = home.rooms().store, home.clock, Timing()
    presence = Presence(home.settings.home / "alive")
    gathering = Gathering(store, clock, channels=[channel.name], operations=home.rooms().operations)
    delivery = Delivery(
        store,
        gathering=gathering,
        reminders=Reminders(store, clock, timing, gathering),
        outbox=Outbox(store, clock, timing, presence),
        notifiers=[channel],
    )
    anyio.run(delivery.round)
    presence.leave()


def test_the_outbox_shows_what_was_told_and_what_waits_and_why(terminal: Terminal) -> None:
    empty = terminal.json("outbox")
    deliver(terminal, PretendChannel("well"))
    action = terminal.propose()
    deliver(terminal, PretendChannel("down", mood=is_down))

    listed = terminal.json("outbox", "--state", "waiting")
    shown = terminal.run("outbox")

    assert empty == {"notices": [], "returned": 0, "total": 0, "counts": []}
    assert (listed["returned"], listed["total"]) == (2, 2)
    newest = listed["notices"][0]
    assert (newest["channel"], newest["kind"], newest["action_id"]) == ("down", "asked", action.id)
    assert [notice["fault"] for notice in listed["notices"]] == [None, "no route"]
    assert "suzuki asks for approval" in shown.output
    assert "down: waiting 2" in shown.output
    assert "well: delivered 1" in shown.output


def test_verify_says_how_many_anchors_have_not_left_and_a_later_anchor_brings_them(terminal: Terminal) -> None:
    fails, works = ((sys.executable, "-c", f"raise SystemExit({code})") for code in (1, 0))
    with_hook = replace(terminal.home.settings, anchor_command=fails)
    there = Terminal(Home(with_hook))

    anchored = there.run("audit", "anchor")
    behind = there.json("audit", "verify")
    said = there.run("audit", "verify")
    repaired = Terminal(Home(replace(with_hook, anchor_command=works)))
    repaired.run("audit", "anchor")

    assert "1 anchors have not reached SEIKYU_ANCHOR_COMMAND yet" in anchored.output
    assert (behind["fault"], behind["anchors_behind"]) == (None, 1)
    assert "1 anchors have not reached SEIKYU_ANCHOR_COMMAND yet" in said.output
    assert repaired.json("audit", "verify")["anchors_behind"] == 0
    assert terminal.json("audit", "verify")["anchors_behind"] is None
    there.home.close()
    repaired.home.close()
