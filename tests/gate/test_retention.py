"""How long everything is kept: counted for the latest business year and tax return a day can belong to."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from gate.stage import Stage
from gate.test_export import SHA256, hand_over
from seikyu import store
from seikyu.errors import ConfigurationError, Text
from seikyu.gate.retention import Retention, free_from, state
from seikyu.settings import read_settings
from seikyu.spec import FileDigest

TODAY = date(2026, 11, 21)
QUERIES = Path(store.__file__).parent / "queries"


def propose_document(stage: Stage, number: str, day: date) -> None:
    proposal = stage.proposal(number, 70_000, transaction_date=day)
    file = FileDigest(field="file", name="bill.pdf", size=1, sha256=SHA256)
    request = proposal.plan.request.model_copy(update={"files": (file,)})
    stage.desk.propose(replace(proposal, plan=replace(proposal.plan, request=request)))


@pytest.mark.parametrize(
    "day,years,free",
    [
        # a business year from December 2026 ends in November 2027; its return is due in 2028 at the latest
        (date(2026, 12, 31), 10, date(2039, 1, 1)),
        (date(2026, 1, 1), 10, date(2039, 1, 1)),
        (date(2026, 4, 1), 7, date(2036, 1, 1)),
        (date(9999, 12, 31), 10, date(9999, 1, 1)),
    ],
)
def test_the_years_are_counted_from_the_end_of_the_second_year_after_the_business_day(
    day: date, years: int, free: date
) -> None:
    assert free_from(day, years) == free


@pytest.mark.both_stores
def test_a_document_is_kept_for_the_last_action_that_names_it(stage: Stage) -> None:
    propose_document(stage, "A-1", date(2020, 5, 1))
    propose_document(stage, "A-2", date(2026, 5, 1))
    stage.propose("A-3", 100_000, transaction_date=date(2019, 3, 31))

    said = state(stage.store, Retention(), TODAY)

    assert (said.records, said.oldest_record, said.oldest_business_day) == (3, TODAY, date(2019, 3, 31))
    assert (said.documents, said.documents_free_from, said.documents_past) == (1, date(2039, 1, 1), 0)


def test_under_a_legal_hold_no_documents_time_is_ever_over(stage: Stage) -> None:
    propose_document(stage, "A-1", date(2009, 5, 1))

    free, held = (state(stage.store, Retention(10, why), TODAY) for why in (None, "税務調査\u202e"))

    assert (free.documents_free_from, free.documents_past, held.documents_past) == (date(2022, 1, 1), 1, 0)
    days = [date(2021, 12, 31), date(2022, 1, 1)]
    assert [state(stage.store, Retention(), day).documents_past for day in days] == [0, 1]
    assert "Legal hold: nothing may be deleted (税務調査⟨U+202E⟩)." in held.text.en
    assert "Seikyu deletes none." in free.text.en


def test_an_empty_store_says_so(stage: Stage) -> None:
    said = state(stage.store, Retention(), TODAY)

    assert (said.records, said.oldest_record, said.documents_free_from) == (0, None, None)


def test_the_manifest_carries_the_retention(stage: Stage, tmp_path: Path) -> None:
    propose_document(stage, "A-1", date(2026, 5, 1))

    hand_over(stage, tmp_path / "out", retention=Retention(12, "係争"))

    text = (tmp_path / "out" / "manifest.json").read_text(encoding="utf-8")
    manifest = json.loads(text)
    assert '"legal_hold": "係争"' in text
    assert manifest["retention"] == {
        "years": 12,
        "legal_hold": "係争",
        "counted_from": "end of the second calendar year after the business day's",
        "records": 1,
        "oldest_record": "2026-11-21",
        "oldest_business_day": "2026-05-01",
        "documents": 1,
        "documents_free_from": "2041-01-01",
        "documents_past": 0,
        "deleted_by_seikyu": "nothing",
    }


def test_no_statement_deletes_a_record() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in QUERIES.glob("*.sql"))

    assert set(re.findall(r"DELETE\s+FROM\s+(\w+)", text, re.IGNORECASE)) == {
        "event",  # MFK's notices: each was only a reason to ask its API, and the log keeps what came of it
        "outbox",
        "secret",
        "seen_request",
    }


@pytest.mark.parametrize("value", ["0", "-1", "ten", "9.5", "１０", "1000"])
def test_years_that_are_none_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SEIKYU_RETENTION_YEARS", value)

    with pytest.raises(ConfigurationError, match="whole number of years"):
        read_settings(tmp_path)


def test_fewer_than_ten_years_have_to_be_said_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    default = read_settings(tmp_path).retention_years
    monkeypatch.setenv("SEIKYU_RETENTION_YEARS", "7")
    with pytest.raises(ConfigurationError, match="shorter than the 10 years"):
        read_settings(tmp_path)
    monkeypatch.setenv("SEIKYU_RETENTION_SHORTER", "yes")

    assert (default, read_settings(tmp_path).retention_years) == (10, 7)


def test_the_command_says_it_to_people_and_programs(stage: Stage) -> None:
    propose_document(stage, "A-1", date(2026, 5, 1))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SEIKYU_")}
    house = {"SEIKYU_HOME": str(stage.settings.home), "SEIKYU_CONFIG": str(stage.settings.config)}
    environment = kept | house | {"SEIKYU_LANG": "en", "SEIKYU_LEGAL_HOLD": "a dispute"}

    def told(*options: str) -> str:
        command = [sys.executable, "-m", "seikyu", "audit", "retention", *options]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout

    said = json.loads(told("--json"))
    assert "kept for at least 10 years" in " ".join(told().split())
    assert (said["documents_free_from"], said["legal_hold"]) == ("2039-01-01", "a dispute")


def test_a_person_reads_how_much_is_kept_since_when_and_from_which_day_a_document_could_go(stage: Stage) -> None:
    empty = state(stage.store, Retention(), TODAY).text
    propose_document(stage, "A-1", date(2009, 5, 1))

    kept = state(stage.store, Retention(), TODAY).text

    assert empty == Text(
        "監査記録 0件（最古 —）と書類 0件を10年以上保存します。Seikyu が消すものはありません。",
        "0 records (the oldest of —) and 0 documents are kept for at least 10 years. Seikyu deletes none.",
    )
    assert kept.en == (
        "1 records (the oldest of 2026-11-21) and 1 documents are kept for at least 10 years. Seikyu deletes none."
        " 1 documents are past that time; the first is from 2022-01-01 on."
    )
    assert kept.ja.endswith("保存期間を過ぎた書類は 1件（最も早いもので 2022-01-01 から）です。")
