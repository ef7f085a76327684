"""What is handed over, read again with nothing of ours."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from gate.forgery import forge
from gate.stage import Stage
from seikyu.errors import ConfigurationError, InvalidArguments, StoreDamaged, Text
from seikyu.gate import audit
from seikyu.gate.export import COLUMNS, DOCUMENT_COLUMNS, Exported, cell, export
from seikyu.spec import FileDigest

DOCUMENT, OTHER = b"%PDF-1.7 a bill", b"%PDF-1.7 a fine"
SHA256, OTHER_SHA256 = (hashlib.sha256(content).hexdigest() for content in (DOCUMENT, OTHER))
KEPT = {SHA256: DOCUMENT, OTHER_SHA256: OTHER}
GONE = "0" * 64


def open_document(sha256: str) -> BinaryIO:
    if sha256 not in KEPT:
        raise StoreDamaged(Text("", "gone"))
    return io.BytesIO(KEPT[sha256])


def hand_over(stage: Stage, folder: Path, **more: Any) -> Exported:
    return export(stage.store, open_document, folder, now=stage.clock.now(), **more)


def propose_document(stage: Stage, number: str, sha256: str) -> None:
    proposal = stage.proposal(number, 70_000)
    request = proposal.plan.request.model_copy(
        update={"files": (FileDigest(field="file", name="=bill.pdf", size=len(DOCUMENT), sha256=sha256),)}
    )
    stage.desk.propose(replace(proposal, plan=replace(proposal.plan, request=request)))


def table(path: Path) -> list[dict[str, str]]:
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_the_manifest_holds_for_somebody_who_has_only_the_folder(stage: Stage, tmp_path: Path) -> None:
    for number in range(3):
        stage.propose(f"A-{number}", 100_000 + number)
    folder = tmp_path / "handed-over"

    made = hand_over(stage, folder)

    content = (folder / "manifest.json").read_bytes()
    manifest = json.loads(content)
    files = {path.name for path in folder.iterdir()} - {"manifest.json"}
    assert hashlib.sha256(content).hexdigest() == made.manifest_sha256
    assert set(manifest["files"]) == files == {"actions.csv", "audit.jsonl", "documents.csv"}
    for name, said in manifest["files"].items():
        data = (folder / name).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (said["sha256"], said["bytes"])
    rows = [json.loads(line) for line in (folder / "audit.jsonl").read_text(encoding="utf-8").splitlines()]
    head = "0" * 64
    for row in rows:
        said = row.pop("hash")
        assert row["prev"] == head
        head = hashlib.sha256(
            json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
        ).hexdigest()
        assert head == said
    assert manifest["log"] == {"records": 3, "head": head}
    assert manifest["is_whole_log"] is True
    assert manifest["exported"] == {"actions": 3, "records": 3, "documents": 0}


def test_the_table_is_japanese_and_the_manifest_names_its_columns_in_english(stage: Stage, tmp_path: Path) -> None:
    action = stage.propose("A-1", 100_000)

    hand_over(stage, tmp_path / "out")

    [row] = table(tmp_path / "out" / "actions.csv")
    names = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))["columns"]["actions.csv"]
    said = dict(zip(names, row.values(), strict=True))
    assert (row["取引年月日"], row["取引金額（円）"], row["取引先"]) == ("2026-11-20", "100000", "株式会社青葉商事")
    assert (said["action_id"], said["state"], said["digest"]) == (action.id, "awaiting_approval", action.digest)
    assert (said["state_text"], said["proposed_at_jst"]) == ("承認待ち", "2026-11-21 12:00:00")


@pytest.mark.parametrize("name", ["=cmd|'/c calc'!A1", "+81", "-1+1", "@SUM(A1)", "＝1+1", " =1", "\t=1", "\r=1"])
def test_a_hostile_name_is_no_formula_in_a_spreadsheet(stage: Stage, tmp_path: Path, name: str) -> None:
    stage.propose("A-1", 100_000, counterparty_name=name)

    hand_over(stage, tmp_path / "out")

    [row] = table(tmp_path / "out" / "actions.csv")
    assert row["取引先"][0] in "'⟨"
    assert not {"\t", "\r", "\n"} & set(row["取引先"])


def test_amounts_stay_numbers_and_ordinary_text_stays_as_it_is() -> None:
    assert [cell(-5), cell(None), cell("A-1"), cell("株式会社=青葉")] == [-5, None, "A-1", "株式会社=青葉"]


def test_documents_are_listed_and_copied_only_when_asked_for_and_still_kept(stage: Stage, tmp_path: Path) -> None:
    propose_document(stage, "A-1", SHA256)
    propose_document(stage, "A-2", GONE)
    propose_document(stage, "A-3", OTHER_SHA256)

    hand_over(stage, tmp_path / "listed")
    made = hand_over(stage, tmp_path / "copied", with_files=True)

    listed, copied = table(tmp_path / "listed" / "documents.csv"), table(tmp_path / "copied" / "documents.csv")
    copies = {sha256: f"documents/{sha256}.pdf" for sha256 in KEPT}
    assert {(row["SHA-256"], row["保管中"], row["写し"]) for row in listed} == {
        (GONE, "いいえ", ""),
        (SHA256, "はい", ""),
        (OTHER_SHA256, "はい", ""),
    }
    assert {row["SHA-256"]: row["写し"] for row in copied} == copies | {GONE: ""}
    assert {row["ファイル名"] for row in copied} == {"'=bill.pdf"}
    assert {sha256: (tmp_path / "copied" / copy).read_bytes() for sha256, copy in copies.items()} == KEPT
    assert made.documents == 3
    assert not (tmp_path / "listed" / "documents").exists()


def test_no_document_byte_is_in_the_tables_or_the_log(stage: Stage, tmp_path: Path) -> None:
    propose_document(stage, "A-1", SHA256)

    hand_over(stage, tmp_path / "out", with_files=True)

    for name in ("actions.csv", "documents.csv", "audit.jsonl", "manifest.json"):
        assert b"%PDF" not in (tmp_path / "out" / name).read_bytes()


def test_a_range_of_days_hands_over_the_rows_of_its_actions_only(stage: Stage, tmp_path: Path) -> None:
    stage.propose("A-1", 100_000, transaction_date=date(2026, 10, 31))
    inside = stage.propose("A-2", 200_000, transaction_date=date(2026, 11, 1))

    hand_over(stage, tmp_path / "out", day_from=date(2026, 11, 1), day_to=date(2026, 11, 30))

    lines = (tmp_path / "out" / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert [json.loads(line)["action_id"] for line in lines] == [inside.id]
    assert [row["申請番号"] for row in table(tmp_path / "out" / "actions.csv")] == [inside.id]
    assert (manifest["is_whole_log"], manifest["log"]["records"]) == (False, 2)


def _folder(path: Path) -> None:
    path.mkdir()


def _file(path: Path) -> None:
    path.write_text("mine", encoding="utf-8")


@pytest.mark.parametrize("make", [_folder, _file])
def test_nothing_is_ever_overwritten(stage: Stage, tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "out")

    with pytest.raises(ConfigurationError, match="not overwritten"):
        hand_over(stage, tmp_path / "out")


def test_what_is_handed_over_is_private_until_somebody_gives_it_away(stage: Stage, tmp_path: Path) -> None:
    hand_over(stage, tmp_path / "out")

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").iterdir()}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700


def test_the_manifest_says_what_was_asked_for_and_what_is_in_the_folder(stage: Stage, tmp_path: Path) -> None:
    propose_document(stage, "A-1", SHA256)
    folder = tmp_path / "a" / "b"

    made = hand_over(stage, folder, day_from=date(2026, 11, 1), day_to=date(2026, 11, 30), with_files=True)

    with stage.store.read() as tx:
        head = tx.one("audit_head")
    assert head is not None
    manifest = (folder / "manifest.json").read_bytes()
    names = ["actions.csv", "audit.jsonl", f"documents/{SHA256}.pdf", "documents.csv"]
    contents = {name: (folder / name).read_bytes() for name in names}
    assert made == Exported(folder, hashlib.sha256(manifest).hexdigest(), 1, 1, 1)
    said = json.loads(manifest)
    del said["retention"]
    assert said == {
        "made_at": "2026-11-21T03:00:00.000000Z",
        "business_days": {"from": "2026-11-01", "to": "2026-11-30"},
        "is_whole_log": True,
        "log": {"records": 1, "head": head["hash"]},
        "exported": {"actions": 1, "records": 1, "documents": 1},
        "damaged": [],
        "columns": {
            "actions.csv": [name for _, name, _ in COLUMNS],
            "documents.csv": [name for _, name in DOCUMENT_COLUMNS],
        },
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in contents.items()
        },
    }
    assert stat.S_IMODE((folder / "documents").stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / f"documents/{SHA256}.pdf").stat().st_mode) == 0o600


def test_every_cell_of_the_table_is_quoted_and_the_rows_are_in_the_order_of_their_days(
    stage: Stage, tmp_path: Path
) -> None:
    late = stage.propose("A-1", 1, transaction_date=date(2026, 11, 20))
    early = stage.propose("A-2", 2, transaction_date=date(2026, 1, 2), counterparty_id=None)

    hand_over(stage, tmp_path / "out")

    text = (tmp_path / "out" / "actions.csv").read_text(encoding="utf-8-sig")
    header, first, second = text.splitlines()
    assert header == ",".join(f'"{ja}"' for ja, _, _ in COLUMNS)
    assert [line.split(",")[6] for line in (first, second)] == [f'"{early.id}"', f'"{late.id}"']
    assert first == ",".join(
        f'"{value}"'
        for value in (
            "2026-01-02", 2, "株式会社青葉商事", "", "承認済み・実行前", "approved", early.id,
            "mfkessai.create_transaction", "mfk-main", "suzuki", "2026-11-21 12:00:00", "2026-11-21 12:00:00",
            0, "", "", "", "", early.digest,
        )
    )  # fmt: skip


def test_a_row_about_no_action_goes_with_its_day_in_japan(stage: Stage, tmp_path: Path) -> None:
    for hours in (0, 12, 24):  # 12:00 on the 21st, 00:00 on the 22nd, 00:00 on the 23rd in Japan
        stage.clock.advance(hours=12 if hours == 24 else hours)
        with stage.store.write() as tx:
            audit.append(tx, stage.clock.now(), f"after-{hours}")
        if hours == 12:
            stage.clock.advance(hours=12)

    hand_over(stage, tmp_path / "out", day_from=date(2026, 11, 22), day_to=date(2026, 11, 22))

    lines = (tmp_path / "out" / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["after-12"]


def test_a_folder_that_cannot_be_written_is_told_with_its_reason(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")

    with pytest.raises(ConfigurationError) as caught:
        hand_over(stage, tmp_path / "file" / "out")

    assert caught.value.what.en == f"{tmp_path / 'file' / 'out'} cannot be written (Not a directory)."


@pytest.mark.parametrize(
    "name,suffix", [("a.PDF", ".pdf"), ("a.jpeg", ".jpeg"), ("a.exe", ""), ("a.pdf.exe", ""), ("pdf", "")]
)
def test_a_copy_keeps_only_an_ending_that_is_known(stage: Stage, tmp_path: Path, name: str, suffix: str) -> None:
    proposal = stage.proposal("A-1", 70_000)
    files = tuple(FileDigest(field="file", name=name, size=len(DOCUMENT), sha256=SHA256) for _ in range(2))
    request = proposal.plan.request.model_copy(update={"files": files})
    stage.desk.propose(replace(proposal, plan=replace(proposal.plan, request=request)))

    hand_over(stage, tmp_path / "out", with_files=True)

    assert [row["写し"] for row in table(tmp_path / "out" / "documents.csv")] == [f"documents/{SHA256}{suffix}"] * 2
    assert [path.name for path in (tmp_path / "out" / "documents").iterdir()] == [f"{SHA256}{suffix}"]


def test_text_is_cut_only_beyond_two_thousand_letters() -> None:
    assert [len(str(cell("a" * size))) for size in (2000, 2001, 9000)] == [2000, 2000, 2000]


def test_a_log_longer_than_a_page_is_handed_over_to_its_end_in_letters_people_can_read(
    stage: Stage, tmp_path: Path
) -> None:
    with stage.store.write() as tx:
        for number in range(501):
            audit.append(tx, stage.clock.now(), "seen", said=f"件{number}")

    made = hand_over(stage, tmp_path / "out")

    lines = (tmp_path / "out" / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    manifest = (tmp_path / "out" / "manifest.json").read_text(encoding="utf-8")
    assert (made.records, len(lines)) == (501, 501)
    assert [json.loads(line)["seq"] for line in lines] == list(range(1, 502))
    assert "件500" in lines[-1]
    assert len(manifest.splitlines()) > 20, "a person reads it too"


def test_an_empty_house_hands_over_an_empty_log(stage: Stage, tmp_path: Path) -> None:
    hand_over(stage, tmp_path / "out")

    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["log"], manifest["is_whole_log"]) == ({"records": 0, "head": "0" * 64}, True)


@pytest.mark.both_stores
@pytest.mark.parametrize("column,value", [("canonical", "{}"), ("state", "what"), ("business_day", None)])
def test_one_damaged_row_holds_back_none_of_the_others_and_is_handed_over_as_it_is(
    stage: Stage, tmp_path: Path, column: str, value: str | None
) -> None:
    sound, damaged = stage.propose("A-1", 100_000), stage.propose("A-2", 200_000)
    forge(stage, f"UPDATE action SET {column} = ? WHERE id = ?", value, damaged.id)  # noqa: S608 - our own names

    made = hand_over(stage, tmp_path / "out", day_from=date(2026, 11, 1), day_to=date(2026, 11, 30))

    [row] = [json.loads(line) for line in (tmp_path / "out" / "damaged.jsonl").read_text(encoding="utf-8").splitlines()]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert (made.actions, made.records, made.damaged) == (1, 2, (damaged.id,))
    assert [line["申請番号"] for line in table(tmp_path / "out" / "actions.csv")] == [sound.id]
    assert (row["id"], row[column], row["amount"]) == (damaged.id, value, 200_000)
    assert (manifest["damaged"], "damaged.jsonl" in manifest["files"]) == ([damaged.id], True)


def test_a_range_that_ends_before_it_begins_hands_nothing_over(stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(InvalidArguments, match="2026-11-30 to 2026-11-01"):
        hand_over(stage, tmp_path / "out", day_from=date(2026, 11, 30), day_to=date(2026, 11, 1))

    assert not (tmp_path / "out").exists()


def test_what_is_no_text_is_handed_over_as_it_can_be_written(stage: Stage, tmp_path: Path) -> None:
    damaged = stage.propose("A-1", 100_000)
    forge(stage, "UPDATE action SET canonical = ?", b"\xff")

    hand_over(stage, tmp_path / "out")

    [row] = [json.loads(line) for line in (tmp_path / "out" / "damaged.jsonl").read_text(encoding="utf-8").splitlines()]
    assert (row["id"], row["canonical"]) == (damaged.id, "b'\\xff'")
