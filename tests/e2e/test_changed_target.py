"""Between the approval and the sending, somebody works on the provider's own screen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from e2e.assistant import assistant, call, draft, effects
from seikyu.sandbox.mfkessai_data import customer_id
from seikyu.surfaces.demo.stage import OPERATOR, PASSPHRASE, CommandFailed, Stage

CANCEL = "mfkessai.cancel_transaction"
SECRET = {"--secret-fd": PASSPHRASE}


async def approve_while_frozen(stage: Stage, action_id: str) -> None:
    """The vote is taken and nothing is sent yet."""
    await stage.run("freeze", "--reason", "月末の確認")
    with pytest.raises(CommandFailed, match="Frozen"):
        await stage.run("approve", action_id, "--by", OPERATOR, secrets=SECRET)


async def go_on(stage: Stage, action_id: str) -> dict[str, Any]:
    await stage.run("unfreeze", "--by", OPERATOR, secrets=SECRET)
    await stage.run("reconcile")
    card: dict[str, Any] = await stage.run_json("show", action_id)
    return card


@pytest.mark.fault("F50")
async def test_a_customer_renamed_at_mfk_after_the_approval_is_approved_anew_before_anything_is_booked(
    stage: Stage,
) -> None:
    async with assistant(stage) as client:
        waiting = await call(client, "register_transaction", **draft(1_000_000))
    action_id = waiting["action_id"]
    await approve_while_frozen(stage, action_id)
    customers = stage.twins.mfkessai.ledger.customers
    customers[customer_id(1)] = replace(customers[customer_id(1)], name="株式会社青葉ホールディングス")

    card = await go_on(stage, action_id)
    before = effects(stage)
    await stage.run("approve", action_id, "--by", OPERATOR, secrets=SECRET)
    done = await stage.run_json("show", action_id)

    assert (card["state"], card["revision"], before) == ("awaiting_approval", 2, 0)
    assert "株式会社青葉商事 → 株式会社青葉ホールディングス" in str(card)
    assert (done["state"], effects(stage)) == ("succeeded", 1)
    assert (await stage.run_json("audit", "verify"))["fault"] is None


@pytest.mark.fault("F50")
async def test_a_transaction_cancelled_on_mfks_own_screen_is_not_cancelled_again(stage: Stage) -> None:
    async with assistant(stage) as client:
        booked = await call(client, "register_transaction", **draft())
        asked = await call(client, "cancel_transaction", transaction_id=booked["provider_ref"], reason="二重登録")
    await approve_while_frozen(stage, asked["action_id"])
    stage.twins.mfkessai.ledger.cancel(booked["provider_ref"])

    card = await go_on(stage, asked["action_id"])

    assert (card["state"], card["revision"], effects(stage, CANCEL)) == ("awaiting_approval", 2, 0)
    assert "passed → canceled" in str(card)
    assert (await stage.run_json("audit", "verify"))["fault"] is None
