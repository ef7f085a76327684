import errno
import os
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from seikyu.errors import ConfigurationError, NotAllowed, NotFound, StoreDamaged
from seikyu.store.database import Row, Store
from seikyu.store.presence import Presence
from seikyu.vault.holdings import Appraiser, Holding, Standing, bindings
from seikyu.vault.keepsakes import slack_place
from seikyu.vault.key_file import KeyFile
from seikyu.vault.keys import KeyPlaces, KeyRing, MasterKey
from seikyu.vault.renewals import LEASE_S, Advice, Renewals
from seikyu.vault.rings import KnownRing, new_key
from seikyu.vault.rotation import AT_ONCE, LOCK_NAME
from seikyu.vault.sealing import row_to_open
from vault.fakes import API_KEY, CLIENT_ID, CLIENT_SECRET, FREEE, LOST, MFK, SetClock, ring, tokens
from vault.rotating import ROWS, SLACK, House, silent

SLACK_PLACE = slack_place(SLACK)

pytestmark = pytest.mark.both_stores


@pytest.fixture
def house(home: Path, store: Store, clock: SetClock, presence: Presence) -> House:
    return House(home, store, clock, presence).fill()


def test_everything_is_sealed_with_a_new_key_and_opens_as_before(house: House) -> None:
    old, contents = house.keys(), house.contents()

    done = house.rotate()

    assert (done.is_new, done.left, sorted(done.resealed)) == (True, [], ROWS)
    assert house.keys() == [done.custody.ring.current.id, *old]
    assert {row["key_id"] for row in house.rows().values()} == {house.keys()[0]}
    assert house.contents() == contents
    assert stat.S_IMODE((house.home / "master.key").stat().st_mode) == 0o600


def test_a_process_that_knows_the_old_ring_goes_on(house: House) -> None:
    vault, kept = house.vault(), house.keepsakes()
    contents = house.contents()
    house.rotate()

    assert house.contents(vault, kept) == contents


def test_what_such_a_process_seals_opens_and_is_sealed_anew_by_the_next_run(house: House) -> None:
    vault = house.vault()
    house.rotate()
    vault.put_api_key(MFK, SecretStr("another"))
    sealed_with = house.rows()["mfk-main"]["key_id"]

    done = house.rotate(makes_key=False)

    assert sealed_with == house.keys()[1]
    assert (done.resealed, done.is_new, len(house.keys())) == (("mfk-main",), False, 2)
    assert house.vault().api_key(MFK).get_secret_value() == "another"


def test_a_renewal_under_way_is_left_alone_told_and_keeps_its_new_tokens(house: House) -> None:
    vault = house.vault()
    renewals = Renewals(vault, house.clock, house.presence)
    lease = renewals.begin(vault.grant(FREEE))
    before = house.rows()["freee-tokyo"]

    done = house.rotate()
    untouched = house.rows()["freee-tokyo"] == before
    assert lease is not None
    token = renewals.finish(lease, tokens(1))
    again = house.rotate(makes_key=False)

    assert untouched
    assert [(row.name, row.standing) for row in done.left] == [("freee-tokyo", Standing.RENEWING)]
    assert token == tokens(1).access_token
    assert (again.resealed, again.left) == (("freee-tokyo",), [])
    assert house.vault().grant(FREEE).secret.refresh_token == tokens(1).refresh_token


def test_a_renewal_that_ends_meanwhile_is_waited_for(house: House) -> None:
    vault = house.vault()
    renewals = Renewals(vault, house.clock, house.presence)
    lease = renewals.begin(vault.grant(FREEE))
    assert lease is not None
    house.pauses = [lambda: None, lambda: renewals.finish(lease, tokens(1))]

    done = house.rotate()

    assert (done.left, house.pauses) == ([], [])
    assert house.vault().grant(FREEE).secret.access_token == tokens(1).access_token


def test_a_renewal_that_comes_back_after_its_lease_finds_its_grant_sealed_anew_and_keeps_its_tokens(
    house: House, clock: SetClock
) -> None:
    vault = house.vault()
    renewals = Renewals(vault, clock, house.presence)
    lease = renewals.begin(vault.grant(FREEE))
    assert lease is not None
    clock.advance(LEASE_S)
    for _ in range(2):
        assert house.rotate().left == []

    token = renewals.finish(lease, tokens(1))

    assert token == tokens(1).access_token
    assert house.vault().grant(FREEE).secret.refresh_token == tokens(1).refresh_token
    assert house.vault().grant(FREEE).generation == 2


def test_a_late_renewal_still_does_not_undo_a_login(house: House, clock: SetClock) -> None:
    vault = house.vault()
    renewals = Renewals(vault, clock, house.presence)
    lease = renewals.begin(vault.grant(FREEE))
    assert lease is not None
    vault.forget(FREEE)
    vault.put_grant(FREEE, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET), answer=tokens(5))
    house.rotate()

    assert renewals.finish(lease, tokens(1)) is None
    assert house.vault().grant(FREEE).secret.access_token == tokens(5).access_token


def test_a_late_answer_that_was_lost_leaves_a_grant_that_says_so(house: House, clock: SetClock) -> None:
    vault = house.vault()
    renewals = Renewals(vault, clock, house.presence)
    lease = renewals.begin(vault.grant(FREEE))
    assert lease is not None
    clock.advance(LEASE_S)
    house.rotate()
    renewals.finish(lease, LOST)

    assert renewals.look(FREEE, None)[1] is Advice.ABANDONED
    assert house.vault().state(FREEE) == "refresh_unknown"


class Overtaken(Appraiser):
    """Somebody logs in between the look at a row and its new seal."""

    def __init__(self, house: House) -> None:
        super().__init__(bindings(house.connections, SLACK), house.clock, house.presence)
        self._vault = house.vault()
        self._is_over = False

    def holding(self, row: Row, ring: KeyRing) -> Holding:
        found = super().holding(row, ring)
        if row["connection"] == "mfk-main/webhook" and len(ring.retired) == 1 and not self._is_over:
            self._is_over = True
            self._vault.put_api_key(MFK, SecretStr("from another login"))
        return found


class Begun(Overtaken):
    """A process begins a renewal between the look at a row and its new seal."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self._renewals = Renewals(self._vault, house.clock, house.presence)

    def holding(self, row: Row, ring: KeyRing) -> Holding:
        found = Appraiser.holding(self, row, ring)
        if row["connection"] == "freee-tokyo" and len(ring.retired) == 1 and not self._is_over:
            self._is_over = True
            assert self._renewals.begin(self._vault.grant(FREEE)) is not None
        return found


def test_a_renewal_that_begins_first_keeps_the_seal_it_has_read(house: House) -> None:
    house.other_appraiser = Begun(house)

    done = house.rotate()

    assert house.rows()["freee-tokyo"]["key_id"] == house.keys()[1]
    assert [(row.name, row.standing) for row in done.left] == [("freee-tokyo", Standing.RENEWING)]


def test_a_login_that_comes_first_wins(house: House) -> None:
    house.other_appraiser = Overtaken(house)

    done = house.rotate()

    assert house.vault().api_key(MFK).get_secret_value() == "from another login"
    assert (done.left, house.rows()["mfk-main"]["key_id"]) == ([], house.keys()[0])


@pytest.mark.parametrize(
    "change, standing",
    [
        ("UPDATE secret SET sealed = '1.AAAA' WHERE connection = 'mfk-main'", Standing.UNREADABLE),
        ("UPDATE secret SET generation = 7 WHERE connection = 'mfk-main'", Standing.UNREADABLE),
        ("UPDATE secret SET key_id = '0011223344556677' WHERE connection = 'mfk-main'", Standing.UNKNOWN_KEY),
        ("UPDATE secret SET connection = 'gone' WHERE connection = 'mfk-main'", Standing.UNCONFIGURED),
    ],
)
def test_what_does_not_open_is_named_kept_and_keeps_its_key(house: House, change: str, standing: Standing) -> None:
    with house.store.write() as tx:
        tx.connection.execute(change)
    name = "gone" if standing is Standing.UNCONFIGURED else "mfk-main"
    before, old = house.rows()[name], house.keys()[0]

    done = [house.rotate(), house.rotate(), house.drop()]

    assert [[(row.name, row.standing) for row in each.left] for each in done] == [[(name, standing)]] * 3
    assert house.rows()[name] == before
    assert house.keys() == [house.keys()[0], *([] if standing is Standing.UNKNOWN_KEY else [old])]


def test_a_row_that_is_forgotten_while_its_key_is_looked_for_is_no_row(house: House) -> None:
    def place() -> KeyRing:
        with house.store.write() as tx:
            tx.connection.execute(f"DELETE FROM secret WHERE connection = '{MFK.name}'")  # noqa: S608 - our name
        return ring(9)

    assert row_to_open(house.store, KnownRing(place), MFK.name) is None
    assert MFK.name not in house.rows()


@pytest.mark.sqlite_only
@pytest.mark.parametrize("column", ["provider", "kind", "key_id", "sealed", "generation", "lease_owner"])
def test_a_value_of_a_kind_we_never_write_stops_no_rotation(house: House, column: str) -> None:
    with house.store.write() as tx:
        tx.connection.execute(f"UPDATE secret SET {column} = X'00' WHERE connection = 'mfk-main'")  # noqa: S608 - listed above

    done = house.rotate()

    assert [row.name for row in done.left] == ["mfk-main"]
    assert len(done.resealed) == len(ROWS) - 1


@pytest.mark.sqlite_only
def test_a_row_whose_name_is_no_text_is_named_all_the_same(house: House) -> None:
    with house.store.write() as tx:
        tx.connection.execute("UPDATE secret SET connection = X'00FF' WHERE connection = 'mfk-main'")

    done = house.rotate()

    assert [(row.name, row.standing) for row in done.left] == [("b'\\x00\\xff'", Standing.UNCONFIGURED)]


def test_a_key_that_nothing_needs_is_taken_out_and_all_goes_on(house: House) -> None:
    vault, kept = house.vault(), house.keepsakes()
    contents = house.contents()
    old = house.keys()
    house.rotate()

    done = house.drop()

    assert [key.id for key in done.dropped] == old
    assert house.keys() == [done.custody.ring.current.id]
    assert house.contents(vault, kept) == contents == house.contents()


def test_a_process_that_knows_only_a_dropped_key_seals_with_the_new_one(house: House) -> None:
    vault, kept = house.vault(), house.keepsakes()
    house.rotate()
    house.drop()
    vault.put_api_key(MFK, SecretStr("late"))
    kept.put(SLACK_PLACE, {"secret": "late"})
    vault.put_grant(FREEE, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET), answer=tokens(9))

    assert {row["key_id"] for row in house.rows().values()} == {house.keys()[0]}
    assert house.vault().api_key(MFK).get_secret_value() == "late"


def test_new_tokens_are_kept_even_if_their_key_was_dropped_and_the_new_one_cannot_be_read(house: House) -> None:
    vault = house.vault()
    grant = vault.grant(FREEE)
    house.rotate()
    house.drop()
    with house.store.write() as tx:  # as it was before: the process never saw the new key
        tx.run(
            "reseal_secret",
            connection="freee-tokyo",
            generation=1,
            was_sealed=house.rows()["freee-tokyo"]["sealed"],
            key_id="x",
            sealed=grant.sealed,
        )
    (house.home / "master.key").chmod(0o644)
    kept = vault.replace_grant(
        grant,
        grant.secret.after(tokens(1)),
        state=grant.state,
        obtained_at=grant.obtained_at,
        expires_at=grant.expires_at,
    )

    assert kept
    assert vault.grant(FREEE).secret.refresh_token == tokens(1).refresh_token


def test_a_renewal_under_way_keeps_its_key_from_being_dropped(house: House) -> None:
    vault = house.vault()
    renewals = Renewals(vault, house.clock, house.presence)
    lease = renewals.begin(vault.grant(FREEE))
    assert lease is not None
    house.rotate()

    kept = house.drop()
    renewals.finish(lease, tokens(1))
    dropped = house.drop()

    assert (kept.dropped, len(dropped.dropped), len(house.keys())) == ((), 1, 1)
    assert house.vault().grant(FREEE).secret.access_token == tokens(1).access_token


def test_many_rows_are_sealed_anew_some_at_a_time_and_progress_is_told(house: House) -> None:
    count = 2 * AT_ONCE + 10
    many = [type(MFK)(f"mfk-{number}", MFK.provider, MFK.environment, "c", MFK.base_url) for number in range(count)]
    for connection in many:
        house.vault().put_api_key(connection, SecretStr(API_KEY))
    told: list[tuple[int, int]] = []

    def on_progress(done: int, total: int) -> None:
        told.append((done, total))

    house.connections = *house.connections, *many

    done = house.rotate(on_progress=on_progress)

    assert (done.left, told) == ([], [(50, count + 7), (100, count + 7), (count + 7, count + 7)])
    assert [len(record.get("rows", [])) for _, record in house.told] == [0, 50, 50, 17]


def test_the_log_is_told_which_keys_and_rows_and_no_more(house: House) -> None:
    old = house.keys()[0]
    house.rotate()
    house.drop()
    new = house.keys()[0]

    assert house.told == [
        ("vault.rotation", {"to": new, "retired": [old], "place": "file", "is_new": True}),
        ("vault.resealed", {"to": new, "rows": ROWS}),
        ("vault.keys_dropped", {"keys": [old], "kept": new}),
    ]


def test_a_key_that_an_interrupted_run_made_is_used_and_no_other_made(house: House) -> None:
    KeyFile(house.home).replace(house.places().led_by(new_key()))
    keys = house.keys()

    done = house.rotate()

    assert (done.is_new, house.keys(), len(done.resealed)) == (True, keys, len(ROWS))


def test_two_runs_at_once_are_one_run(house: House) -> None:
    caught: list[BaseException] = []

    def during(_done: int, _total: int) -> None:
        with pytest.raises(NotAllowed, match="Another `seikyu vault rotate` is running") as refused:
            house.rotate()
        caught.append(refused.value)

    house.rotate(on_progress=during)

    assert (len(caught), len(house.keys())) == (1, 2)
    assert house.rotate().is_new


def test_a_lock_that_cannot_be_taken_is_one_sentence_and_nothing_is_done(house: House) -> None:
    (house.home / LOCK_NAME).mkdir()

    with pytest.raises(ConfigurationError, match=f"{LOCK_NAME} cannot be used \\(EISDIR\\)"):
        house.rotate()

    assert (len(house.keys()), house.told) == (1, [])


@pytest.mark.parametrize(
    "fault,step", [(errno.ENOSPC, "Make room on the disk."), (errno.EROFS, "can be read and written")]
)
def test_a_new_key_that_cannot_be_written_leaves_the_former_one_and_says_what_helps(
    house: House, monkeypatch: pytest.MonkeyPatch, fault: int, step: str
) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(fault, os.strerror(fault))

    before = house.keys()
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ConfigurationError) as told:
        house.rotate()

    assert step in told.value.next_step.en
    assert house.keys() == before
    assert [path.name for path in house.home.glob(".master.key*")] == []


def text(*keys: MasterKey) -> str:
    return KeyRing(keys[0], keys[1:]).text().get_secret_value()


def given(house: House, *keys: MasterKey) -> KeyPlaces:
    return KeyPlaces(house.home, variable=SecretStr(text(*keys)), named="variable")


def test_where_only_a_person_writes_the_person_puts_the_new_key_first(house: House) -> None:
    old, new = house.places().current, new_key()
    with pytest.raises(NotAllowed, match="Only a person can put a new key into SEIKYU_MASTER_KEY") as caught:
        house.rotation(given(house, old)).rotate(makes_key=True, is_sole_machine=False, on_progress=silent)

    done = house.rotation(given(house, new, old)).rotate(makes_key=False, is_sole_machine=False, on_progress=silent)
    dropped = house.rotation(given(house, new, old)).drop(on_progress=silent)

    assert "--no-new-key" in caught.value.say("ja")
    assert "into SEIKYU_MASTER_KEY. Put a new one" in caught.value.say("en")
    assert (len(done.resealed), done.left) == (len(ROWS), [])
    assert {row["key_id"] for row in house.rows().values()} == {new.id}
    assert (dropped.dropped, house.places().current) == ((old,), old)


def test_a_key_in_two_places_is_not_rotated_in_one_of_them(house: House) -> None:
    both = KeyPlaces(house.home, variable=SecretStr(text(house.places().current)))

    with pytest.raises(ConfigurationError, match="The key is in two places"):
        house.rotation(both).rotate(makes_key=True, is_sole_machine=False, on_progress=silent)
    assert len(house.keys()) == 1


def test_a_database_that_machines_may_share_gets_no_key_that_only_this_one_has(house: House) -> None:
    house.is_shared = True
    with pytest.raises(NotAllowed, match="is this machine's alone") as caught:
        house.rotate()
    keys = house.keys()

    done = house.rotation().rotate(makes_key=True, is_sole_machine=True, on_progress=silent)

    assert "--sole-machine" in caught.value.say("en")
    assert (len(keys), done.left) == (1, [])


def test_without_its_retired_keys_a_ring_says_which_row_needs_which_and_writes_nothing(house: House) -> None:
    before = house.rows()
    (house.home / "master.key").unlink()
    house.places.prepare()

    done = house.rotate()

    assert [row.standing for row in done.left] == [Standing.UNKNOWN_KEY] * len(ROWS)
    assert house.rows() == before
    with pytest.raises(StoreDamaged):
        house.contents()


def test_the_status_says_how_each_row_stands(house: House) -> None:
    custody = house.rotation().custody()

    assert [(row.name, row.standing) for row in custody.holdings] == [(name, Standing.CURRENT) for name in ROWS]
    assert (custody.place.kind, len(custody.needing(custody.ring.current))) == ("file", len(ROWS))


def test_what_is_not_there_cannot_be_given_up(house: House) -> None:
    with pytest.raises(NotFound) as refused:
        house.rotation().forget("nobody")

    assert refused.value.text.en == "There is no secret nobody. See the names in `seikyu vault status`."
