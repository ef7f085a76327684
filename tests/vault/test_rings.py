import threading
from dataclasses import dataclass, field

import pytest
from pydantic import SecretStr

from seikyu.errors import ConfigurationError, NotAllowed, Text
from seikyu.vault.rings import MOST_KEYS, KeyRing, KnownRing, new_key, ring_of
from vault.fakes import ring

NEW = ring(2).current.id


@dataclass
class Place:
    """Holds a ring, or fails; counts how often it is read."""

    ring: KeyRing = field(default_factory=ring)
    reads: int = 0
    is_broken: bool = False

    def __call__(self) -> KeyRing:
        self.reads += 1
        if self.is_broken:
            raise ConfigurationError(Text("", "the place is broken"))
        return self.ring


@dataclass
class Ticks:
    now: int = 1

    def __call__(self) -> int:
        return self.now


def test_a_process_reads_its_place_once() -> None:
    place = Place()
    known = KnownRing(place)
    for _ in range(3):
        known.ring()
        known.by_id(ring().current.id)

    assert place.reads == 1


def test_a_key_that_is_not_known_is_looked_for_in_the_place_at_once() -> None:
    place = Place()
    known = KnownRing(place)
    known.ring()
    place.ring = ring(2, 1)

    assert known.by_id(NEW) == ring(2).current
    assert (known.current, place.reads) == (ring(2).current, 2)


def test_a_key_that_nobody_has_is_looked_for_once_in_ten_seconds() -> None:
    place, ticks = Place(), Ticks()
    known = KnownRing(place, ticks=ticks)
    asked = [known.by_id("0" * 16) for _ in range(5)]
    before = place.reads
    ticks.now += 10 * 10**9
    known.by_id("0" * 16)

    assert asked == [None] * 5
    assert (before, place.reads) == (2, 3)


def test_another_unknown_key_is_looked_for_although_the_first_rests() -> None:
    place = Place()
    known = KnownRing(place)
    known.by_id("0" * 16)
    place.ring = ring(2, 1)

    assert known.by_id(NEW) == ring(2).current


def test_a_place_that_breaks_leaves_what_is_known_in_use_and_says_so_for_the_rest() -> None:
    place = Place()
    known = KnownRing(place)
    known.ring()
    place.is_broken = True

    for _ in range(2):
        with pytest.raises(ConfigurationError, match="the place is broken"):
            known.by_id(NEW)
    assert known.by_id(ring().current.id) == known.current == ring().current
    assert place.reads == 2


def test_a_place_that_was_mended_is_read_by_the_next_who_needs_it() -> None:
    place = Place(is_broken=True)
    known = KnownRing(place)
    with pytest.raises(ConfigurationError):
        known.ring()
    place.is_broken = False

    assert known.ring() == ring()


def test_a_place_that_fails_slowly_rests_as_long_as_it_took() -> None:
    place, ticks = Place(is_broken=True), Ticks()

    def slow() -> KeyRing:
        ticks.now += 20 * 10**9
        return place()

    known = KnownRing(slow, ticks=ticks)
    for _ in range(5):
        with pytest.raises(ConfigurationError, match="the place is broken"):
            known.ring()
    before, place.is_broken = place.reads, False
    ticks.now += 20 * 10**9

    assert known.ring() == ring()
    assert (before, place.reads) == (1, 2)


def test_all_who_wait_for_a_slow_place_share_what_came_of_it() -> None:
    waiting, may_go = threading.Semaphore(0), threading.Event()
    place = Place()

    def slow() -> KeyRing:
        may_go.wait(10)
        return place()

    known = KnownRing(slow)
    found: list[object] = []

    def ask() -> None:
        waiting.release()
        found.append(known.by_id(NEW))

    place.ring = ring(2, 1)
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in threads:
        waiting.acquire(timeout=10)
    may_go.set()
    for thread in threads:
        thread.join(10)

    assert found == [ring(2).current] * 8
    assert place.reads == 1


def test_a_ring_does_not_grow_beyond_what_every_place_can_hold() -> None:
    full = ring()
    for _ in range(MOST_KEYS - 1):
        full = full.led_by(new_key())

    with pytest.raises(NotAllowed, match="holds 24 keys already") as caught:
        full.led_by(new_key())
    assert caught.value.say("en") == (
        "The ring holds 24 keys already. Drop those that nothing needs with `seikyu vault rotate --drop-retired`."
    )
    assert len(full.text()) <= 1280
    assert ring_of(full.text(), Text("鍵", "keys")) == full
    with pytest.raises(ConfigurationError):
        ring_of(
            SecretStr(f"{full.text().get_secret_value()}{KeyRing(new_key()).text().get_secret_value()}"),
            Text("鍵", "keys"),
        )
