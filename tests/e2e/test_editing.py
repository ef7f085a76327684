"""Edits by the requester's assistant and by an operator, through a real client, server process and twin."""

from __future__ import annotations

import pytest

from e2e.assistant import CREATE, assistant, call, draft, effects, refused
from seikyu.surfaces.demo.stage import OPERATOR, PASSPHRASE, CommandFailed, Stage

SECRET = {"--secret-fd": PASSPHRASE}


async def test_an_edited_registration_is_sent_as_edited_and_never_by_the_operator_who_edited(stage: Stage) -> None:
    second = {"--secret-fd": PASSPHRASE, "--by-secret-fd": PASSPHRASE}
    await stage.run("operator", "add", "sato", "--by", OPERATOR, secrets=second)
    line = draft()["lines"][0]
    async with assistant(stage) as client:
        waiting = await call(client, "register_transaction", **draft(1_000_000))
        edited = await call(
            client,
            "revise_action",
            action_id=waiting["action_id"],
            changes={"lines": [{**line, "unit_price": 900_000, "description": "保守料（改）"}]},
        )
        repeated = await call(client, "register_transaction", **draft(1_000_000))
        other = await refused(client, "revise_action", action_id=waiting["action_id"], changes={"connection": "x"})
        wrong = await refused(client, "revise_action", action_id=waiting["action_id"], changes={"amuont": 1})
        same = await refused(
            client, "revise_action", action_id=waiting["action_id"], changes={"lines": edited_line(line)}
        )
    lowered = await stage.run_json(
        "edit", waiting["action_id"], "--set", "lines.0.unit_price=800000", "--by", OPERATOR, secrets=SECRET
    )
    with pytest.raises(CommandFailed, match="Nobody decides on what they edited"):
        await stage.run("approve", waiting["action_id"], "--by", OPERATOR, secrets=SECRET)
    with pytest.raises(CommandFailed, match="cannot raise the amount"):
        await stage.run(
            "edit", waiting["action_id"], "--set", "lines.0.unit_price=800001", "--by", "sato", secrets=SECRET
        )
    await stage.run("approve", waiting["action_id"], "--by", "sato", secrets=SECRET)

    assert (edited["action_id"], edited["amount_yen"], edited["approvals"]) == (waiting["action_id"], 990_000, "0/1")
    assert "(revision 2)" in edited["summary"]
    assert (repeated["action_id"], repeated["amount_yen"]) == (waiting["action_id"], 990_000)
    assert "`connection` cannot be edited" in other
    assert "Did you mean amount?" in wrong
    assert "Nothing changes" in same
    assert [(edit["editor"], edit["changes"]) for edit in lowered["edits"]][1] == (
        OPERATOR,
        [{"argument": "lines.0.unit_price", "before": "900000", "after": "800000"}],
    )
    [booked] = [effect for effect in stage.twins.effects if effect.operation == CREATE]
    assert booked is not None
    assert effects(stage) == 1
    card = await stage.run_json("show", waiting["action_id"])
    assert (card["state"], card["revision"], card["approvals"]) == ("succeeded", 3, ["sato"])
    assert card["head"]["Amount, tax included"] == "880,000円"
    assert (await stage.run_json("audit", "verify"))["fault"] is None


def edited_line(line: dict[str, object]) -> list[dict[str, object]]:
    return [{**line, "unit_price": "900000", "description": "保守料（改）"}]


async def test_an_edited_upload_keeps_the_document_that_was_taken_whatever_lies_at_its_path_now(stage: Stage) -> None:
    inbox = stage.home / "inbox" / "領収書-青葉商事.pdf"
    before = inbox.read_bytes()
    async with assistant(stage) as client:
        waiting = await call(client, "upload_e_storage_document", path=inbox.name, doc_type="領収書")
        inbox.write_bytes(b"%PDF-1.7\nanother document")
        edited = await call(
            client, "revise_action", action_id=waiting["action_id"], changes={"doc_type": "領収書（電子）"}
        )
        moved = await refused(client, "revise_action", action_id=waiting["action_id"], changes={"path": inbox.name})
    await stage.run("approve", waiting["action_id"], "--by", OPERATOR, secrets=SECRET)

    [stored] = stage.twins.invox.documents
    assert (stored.size, edited["status"]) == (len(before), "awaiting_approval")
    assert "`path` cannot be edited" in moved
