"""Anchors on their way to another place."""

from __future__ import annotations

import json
import stat
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from gate.stage import Stage
from gate.traces import warned
from seikyu.errors import NotDelivered, Text
from seikyu.gate import audit
from seikyu.gate.anchor_copies import MAX_WAIT_S, AnchorCopies, AnchorSink, Place
from seikyu.gate.anchors import Anchor, AnchorFile, Anchoring
from seikyu.gate.hooks import AnchorCommand

pytestmark = pytest.mark.anyio


class Shelf:
    """The other place, which can be out of order."""

    def __init__(self) -> None:
        self.kept: list[Anchor] = []
        self.tried = 0
        self.is_broken = False

    async def keep(self, anchor: Anchor) -> None:
        self.tried += 1
        if self.is_broken:
            raise NotDelivered(Text("不通", "no route"))
        self.kept.append(anchor)


def copies(stage: Stage, sink: AnchorSink) -> AnchorCopies:
    return AnchorCopies(stage.store, stage.clock, AnchorFile(stage.settings.anchors_file), sink)


def anchor(stage: Stage, count: int = 1) -> list[Anchor]:
    """Anchor after each of `count` more requests; all anchors there are."""
    file = AnchorFile(stage.settings.anchors_file)
    keeper = Anchoring(stage.store, stage.clock, file)
    for _ in range(count):
        stage.propose(f"A-{len(file.read().anchors)}", 100_000 + len(file.read().anchors))
        keeper.anchor()
    return list(file.read().anchors)


async def test_every_anchor_arrives_once_and_in_order(stage: Stage) -> None:
    shelf = Shelf()
    there = copies(stage, shelf)
    anchor(stage, 2)
    await there.keep_up()
    written = anchor(stage)

    await there.keep_up()
    await there.keep_up()

    assert shelf.kept == written
    assert there.behind() == ()


async def test_a_place_that_is_out_of_order_is_tried_later_and_then_gets_what_it_missed(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = Shelf()
    shelf.is_broken = True
    there = copies(stage, shelf)
    written = anchor(stage, 3)

    for _ in range(60):
        await there.keep_up()
        stage.clock.advance(seconds=1)
    tries = shelf.tried
    behind = there.behind()
    shelf.is_broken = False
    stage.clock.advance(seconds=MAX_WAIT_S)
    await there.keep_up()

    assert tries == 3  # at 0, 10 and 30 s
    assert list(behind) == written
    assert [record.message for record in warned(caplog)] == ["anchors are not copied, and tried again: no route"]
    assert shelf.kept == written


async def test_a_new_server_goes_on_where_the_last_one_stopped(stage: Stage) -> None:
    first, second = Shelf(), Shelf()
    anchor(stage, 2)
    await copies(stage, first).keep_up()
    written = anchor(stage, 2)

    await copies(stage, second).keep_up()

    assert first.kept + second.kept == written


async def test_while_one_server_copies_another_does_not(stage: Stage) -> None:
    shelf, other = Shelf(), Shelf()
    anchor(stage)

    class Meanwhile(Shelf):
        async def keep(self, anchor: Anchor) -> None:
            await copies(stage, other).keep_up()
            await super().keep(anchor)

    shelf = Meanwhile()
    await copies(stage, shelf).keep_up()

    assert (len(shelf.kept), len(other.kept)) == (1, 0)


async def test_another_anchor_file_is_copied_from_its_beginning(stage: Stage) -> None:
    shelf = Shelf()
    anchor(stage, 2)
    await copies(stage, shelf).keep_up()
    stage.settings.anchors_file.unlink()
    written = anchor(stage)

    await copies(stage, shelf).keep_up()

    assert shelf.kept[-1:] == written


async def test_a_program_gets_lines_that_verify_reads_back(stage: Stage, tmp_path: Path) -> None:
    away = tmp_path / "away.jsonl"
    command = (sys.executable, "-c", f"import sys; open({str(away)!r}, 'a').write(sys.stdin.read())")
    written = anchor(stage, 2)

    await copies(stage, AnchorCommand(command)).keep_up()

    brought_back = AnchorFile(away).read()
    assert list(brought_back.anchors) == written
    assert audit.verify(stage.store, brought_back).faults == ()
    assert json.loads(away.read_text(encoding="utf-8").splitlines()[0]) == written[0].model_dump()


async def test_a_program_that_fails_keeps_the_anchor_on_the_list(stage: Stage) -> None:
    written = anchor(stage)
    there = copies(stage, AnchorCommand((sys.executable, "-c", "raise SystemExit(1)")))

    await there.keep_up()

    assert list(there.behind()) == written


async def test_a_place_out_of_order_is_tried_at_times_twice_as_far_apart_up_to_a_quarter_of_an_hour(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = Shelf()
    shelf.is_broken = True
    there = copies(stage, shelf)
    anchor(stage)
    begin, tried = stage.clock.now(), list[int]()

    while len(tried) < 9:
        before = shelf.tried
        await there.keep_up()
        if shelf.tried > before:
            tried.append((stage.clock.now() - begin) // timedelta(seconds=1))
        stage.clock.advance(seconds=5)
    shelf.is_broken = False
    stage.clock.advance(seconds=MAX_WAIT_S)
    await there.keep_up()
    shelf.is_broken = True
    anchor(stage)
    again = shelf.tried
    for _ in range(3):
        await there.keep_up()
        stage.clock.advance(seconds=5)

    assert tried == [0, 10, 30, 70, 150, 310, 630, 1270, 2170]
    assert shelf.tried - again == 2, "at once, and ten seconds later"
    assert len(warned(caplog)) == 2


def test_how_far_the_place_has_come_is_one_private_line_that_is_written_over(tmp_path: Path) -> None:
    place = Place(tmp_path / "copied")
    long = Anchor(at="2026-11-21T03:00:00.000000Z", records=10_000, head="a" * 64)
    short = Anchor(at="2026-11-21T03:00:00.000000Z", records=2, head="b" * 64)

    told = [place.last()]
    for one in (long, short):
        place.move(one)
        told.append(place.last())

    assert told == [None, long, short]
    assert (tmp_path / "copied").read_text(encoding="utf-8") == f"{short.model_dump_json()}\n"
    assert stat.S_IMODE((tmp_path / "copied").stat().st_mode) == 0o600


async def test_a_place_that_took_some_is_told_only_of_the_rest(stage: Stage) -> None:
    written = anchor(stage, 3)
    shelf = Shelf()
    there = copies(stage, shelf)
    Place(stage.settings.anchors_file.with_name("anchors.jsonl.copied")).move(written[1])

    assert there.behind() == (written[2],)
    await there.copy()

    assert (shelf.kept, there.behind()) == ([written[2]], ())


async def test_a_fault_is_logged_at_the_first_time_it_is_met(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    shelf.is_broken = True
    anchor(stage)

    await copies(stage, shelf).keep_up()

    assert len(warned(caplog)) == 1


async def test_while_there_is_nothing_new_no_file_is_touched(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    shelf, place = Shelf(), stage.settings.anchors_file.with_name("anchors.jsonl.copied")
    there = copies(stage, shelf)
    await there.keep_up()
    was_made_early = place.exists()
    anchor(stage)
    await there.keep_up()
    place.unlink()
    place.mkdir()  # whoever opened it now would have to say so

    await there.keep_up()

    assert (was_made_early, len(shelf.kept), warned(caplog)) == (False, 1, [])
