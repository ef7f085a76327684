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

from gate.stage import Stage
from seikyu.errors import ConfigurationError, StoreDamaged, Text
from seikyu.gate.export import Exported, cell, export
from seikyu.spec import FileDigest

DOCUMENT = b"%PDF-1.7 a bill"
SHA256 = hashlib.sha256(DOCUMENT).hexdigest()
GONE = "0" * 64


def open_document(sha256: str) -> BinaryIO:
    if sha256 != SHA256:
        raise StoreDamaged(Text("", "gone"))
    return io.BytesIO(DOCUMENT)


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

    hand_over(stage, tmp_path / "listed")
    made = hand_over(stage, tmp_path / "copied", with_files=True)

    listed, copied = table(tmp_path / "listed" / "documents.csv"), table(tmp_path / "copied" / "documents.csv")
    copy = f"documents/{SHA256}.pdf"
    assert {(row["SHA-256"], row["保管中"], row["写し"]) for row in listed} == {
        (GONE, "いいえ", ""),
        (SHA256, "はい", ""),
    }
    assert {row["SHA-256"]: row["写し"] for row in copied} == {SHA256: copy, GONE: ""}
    assert {row["ファイル名"] for row in copied} == {"'=bill.pdf"}
    assert (tmp_path / "copied" / copy).read_bytes() == DOCUMENT
    assert made.documents == 2
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
