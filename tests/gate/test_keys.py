"""Keys and passphrases: what is stored, who can open it, and how long whoever guesses has to wait."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gate.forgery import forge
from gate.stage import CHEAP, PASSPHRASE, Stage
from seikyu.errors import StoreDamaged, VoteRefused
from seikyu.gate import operators
from seikyu.gate.keys import Key, is_signed, unwrap, wrap
from seikyu.gate.mandates import Operator
from seikyu.models import timestamp

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = PRIVATE.public_key().public_bytes_raw().hex()


def test_a_stored_key_names_its_cost_and_has_a_salt_of_16_and_a_nonce_of_12_bytes_of_its_own() -> None:
    one, other = (json.loads(wrap(PRIVATE, PASSPHRASE, "tanaka", CHEAP)) for _ in range(2))

    assert (one["cost"], other["cost"]) == (CHEAP, CHEAP)
    assert {name: len(bytes.fromhex(one[name])) for name in ("salt", "nonce", "sealed")} == {
        "salt": 16, "nonce": 12, "sealed": 32 + 16,
    }  # fmt: skip
    assert all(one[name] != other[name] for name in ("salt", "nonce", "sealed"))


def opened(wrapped: str, passphrase: str, name: str) -> bytes | None:
    key = unwrap(wrapped, passphrase, name)
    return None if key is None else key.private_bytes_raw()


def test_a_key_opens_with_its_passphrase_and_the_name_of_its_holder_only() -> None:
    wrapped = wrap(PRIVATE, "合言葉をｶﾞｷﾞｸﾞゲゴ", "tanaka", CHEAP)

    assert opened(wrapped, "合言葉をガギグゲゴ", "tanaka") == bytes(32), "typed on another keyboard"
    assert opened(wrapped, "合言葉をカキグゲゴ", "tanaka") is None
    assert opened(wrapped, "合言葉をガギグゲゴ", "sato") is None


@pytest.mark.parametrize("cost", ["iterations", "lanes", "memory_cost"])
def test_every_part_of_the_cost_counts(cost: str) -> None:
    wrapped = json.loads(wrap(PRIVATE, PASSPHRASE, "tanaka", {"iterations": 2, "lanes": 2, "memory_cost": 32}))
    wrapped["cost"][cost] = {"iterations": 1, "lanes": 1, "memory_cost": 16}[cost]

    assert opened(json.dumps(wrapped), PASSPHRASE, "tanaka") is None


def test_a_signature_holds_for_one_key_and_one_message_and_nonsense_for_none() -> None:
    seal = Key("tanaka", PRIVATE).sign(b"yes")

    assert is_signed(PUBLIC, b"yes", seal)
    assert not is_signed(PUBLIC, b"no", seal)
    assert not is_signed("11" * 32, b"yes", seal)
    assert not is_signed(PUBLIC, b"yes", "no hex")
    assert not is_signed("00", b"yes", seal)


def state(stage: Stage, name: str = "tanaka") -> tuple[int, str | None]:
    """Wrong passphrases so far, and until when no other is taken."""
    with stage.store.read() as tx:
        row = tx.one("operator", name=name)
    assert row is not None
    return row["failures"], row["locked_until"]


def test_three_wrong_passphrases_are_free_and_each_further_one_doubles_the_wait_up_to_a_quarter_of_an_hour(
    stage: Stage,
) -> None:
    stage.enrol("tanaka")
    waits = list[int | None]()

    for count in range(1, 16):
        with pytest.raises(VoteRefused, match="wrong"):
            operators.unlock(stage.store, stage.clock, "tanaka", "not the passphrase")
        failures, until = state(stage)
        wait = next((s for s in (2**n for n in range(10)) if until == later(stage, s)), None)
        waits.append(900 if until == later(stage, 900) else wait)
        assert failures == count
        stage.clock.advance(seconds=waits[-1] or 0)

    assert waits == [None, None, None, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]
    operators.unlock(stage.store, stage.clock, "tanaka", PASSPHRASE)
    assert state(stage) == (0, None)


def later(stage: Stage, seconds: int) -> str:
    return timestamp(stage.clock.now() + timedelta(seconds=seconds))


def test_who_has_to_wait_is_told_how_long_and_no_try_counts_meanwhile(stage: Stage) -> None:
    stage.enrol("tanaka")
    for _ in range(4):
        with pytest.raises(VoteRefused):
            operators.unlock(stage.store, stage.clock, "tanaka", "not the passphrase")
    before = state(stage)

    told = list[str]()
    for milliseconds in (1, 500, 1000, 498):
        stage.clock.at += timedelta(milliseconds=milliseconds)
        with pytest.raises(VoteRefused) as refused:
            operators.unlock(stage.store, stage.clock, "tanaka", PASSPHRASE)
        told.append(refused.value.what.en)
    after = state(stage)
    stage.clock.at += timedelta(milliseconds=1)

    assert told == [f"Too many wrong passphrases: wait {seconds} s." for seconds in (2, 2, 1, 1)]
    assert before == after
    assert operators.unlock(stage.store, stage.clock, "tanaka", PASSPHRASE).name == "tanaka"


def test_a_name_nobody_has_and_one_that_was_removed_are_refused_like_a_wrong_passphrase(stage: Stage) -> None:
    first = stage.enrol("tanaka")
    stage.enrol("sato", first)
    operators.remove(stage.store, stage.clock, "sato", by=first)

    told = set[str]()
    for name, passphrase in (("mallory", PASSPHRASE), ("sato", PASSPHRASE), ("tanaka", "not the passphrase")):
        with pytest.raises(VoteRefused) as refused:
            operators.unlock(stage.store, stage.clock, name, passphrase)
        told.add(refused.value.say("en"))

    assert told == {"The operator's name or passphrase is wrong. No decision was recorded. Enter it again."}


def test_a_wrong_passphrase_is_logged_by_the_name_it_was_tried_for(stage: Stage) -> None:
    stage.enrol("tanaka")
    with pytest.raises(VoteRefused):
        operators.unlock(stage.store, stage.clock, "tanaka", "not the passphrase")

    with stage.store.read() as tx:
        *_, last = tx.connection.execute("SELECT * FROM audit ORDER BY seq").fetchall()
    assert (last["kind"], last["at"], json.loads(last["record"])) == (
        "operator.passphrase_refused",
        timestamp(stage.clock.now()),
        {"name": "tanaka"},
    )


def test_a_key_that_is_not_the_one_that_was_vouched_for_is_no_key(stage: Stage) -> None:
    stage.enrol("tanaka")
    forge(stage, "UPDATE operator SET wrapped_key = ?", wrap(PRIVATE, PASSPHRASE, "tanaka", CHEAP))

    with pytest.raises(StoreDamaged, match="record of the operator's key is damaged"):
        operators.unlock(stage.store, stage.clock, "tanaka", PASSPHRASE)


@pytest.mark.parametrize("name", ["", "_tanaka", "-tanaka", "a" * 41, "ta naka", "tanaka\n", "田中/一", "tanaka\u3164"])
def test_a_name_that_could_be_misread_is_refused(stage: Stage, name: str) -> None:
    with pytest.raises(VoteRefused, match="An operator's name is up to 40 letters"):
        stage.enrol(name)


def test_a_passphrase_has_twelve_characters_and_a_name_up_to_forty_of_any_script(stage: Stage) -> None:
    name = "田中" + "a.-_" * 9 + "0z"
    with pytest.raises(VoteRefused, match="at least 12 characters"):
        operators.enrol(stage.store, stage.clock, name, "x" * 11, endorser=None, cost=CHEAP)

    enrolled = operators.enrol(
        stage.store, stage.clock, name, "x" * 12, endorser=None, roles=["b", "a", "b"], ceiling=5, cost=CHEAP
    )

    key = operators.unlock(stage.store, stage.clock, name, "x" * 12)
    public = key.private.public_key().public_bytes_raw().hex()
    at = timestamp(stage.clock.now())
    assert enrolled == Operator(name, public, at, name, is_active=True, roles=frozenset({"a", "b"}), ceiling=5)
    assert key.name == name
