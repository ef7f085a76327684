"""The story: look-up, credit, registration, seal, exactly once, proof; and what the guardrails refuse."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import anyio
from mcp import Client, StdioServerParameters

from seikyu.errors import Lang, Text
from seikyu.models import jst_date, yen_text
from seikyu.sandbox.faults import Fault, FaultKind
from seikyu.surfaces.demo.keeping import keep_running
from seikyu.surfaces.demo.stage import OPERATOR, PASSPHRASE, CommandFailed, Stage, set_stage
from seikyu.surfaces.demo.telling import Teller

ASSISTANT: Final = Text("アシスタント（MCP クライアント）", "the assistant, over MCP")
PERSON: Final = Text(f"操作者 {OPERATOR}（端末、合言葉）", f"operator {OPERATOR}, in a terminal, with a passphrase")
CREATE: Final = "mfkessai.create_transaction"
SMALL_AND_LARGE: Final = 2
"""Transactions registered in the whole story: the approved one and the one whose answer was lost."""


class Broken(Exception):
    """The story did not go as it must."""


class Story:
    """One telling, with the checks that make it more than a film."""

    def __init__(self, stage: Stage, client: Client, teller: Teller) -> None:
        self._stage = stage
        self._client = client
        self._teller = teller
        self._today = jst_date(datetime.now(UTC))

    async def tell(self) -> None:
        destination, customer = await self._look_up()
        await self._credit(customer)
        draft = self._draft(destination, "クラウド利用料（11月分）", "1000000")
        action_id = await self._register(draft)
        await self._approve(action_id)
        await self._same_again(draft, action_id)
        await self._lost_answer(destination)
        await self._upload()
        await self._denied(destination)
        await self._duplicate(destination)
        await self._audit()

    async def _call(
        self, tool: str, arguments: Mapping[str, Any], *, shown: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        self._teller.call(tool, arguments if shown is None else shown)
        result = await self._client.call_tool(tool, dict(arguments))
        sentence = " ".join(getattr(part, "text", "") for part in result.content)
        self._teller.answer(sentence, is_error=bool(result.is_error))
        if result.is_error:
            raise Broken(sentence)
        return dict(result.structured_content or {})

    def _check(self, said: Text, *, holds: bool) -> None:
        self._teller.proof(said, holds=holds)
        if not holds:
            raise Broken(said.en)

    def _effects(self, operation: str) -> int:
        return sum(effect.operation == operation for effect in self._stage.twins.effects)

    def _draft(self, destination: str, item: str, price: str) -> dict[str, Any]:
        day = self._today.isoformat()
        line = {
            "description": item,
            "quantity": 1,
            "unit_price": price,
            "tax_rate_type": "normal_10",
            "tax_included_type": "excluded",
        }
        return {
            "destination_id": destination,
            "lines": [line],
            "date": day,
            "issue_date": day,
            "due_date": (self._today + timedelta(days=40)).isoformat(),
            "invoice_delivery_methods": ["email"],
        }

    async def _look_up(self) -> tuple[str, str]:
        self._teller.step(Text("取引先を調べる", "Look a customer up"), ASSISTANT)
        found = await self._call("lookup_customer", {"query": "青葉"})
        rows = [(row["number"], row["name"], row["id"]) for row in found["customers"]]
        self._teller.rows([Text("番号", "number"), Text("名称", "name"), Text("ID", "id")], rows)
        first = found["customers"][0]
        return first["destinations"][0]["id"], first["id"]

    async def _credit(self, customer: str) -> None:
        self._teller.step(Text("与信を確かめる", "Check the credit"), ASSISTANT)
        credit = await self._call("check_credit_balance", {"customer_id": customer, "amount": 1_100_000})
        facility = credit["facility"]
        row = (yen_text(facility["amount_yen"]), yen_text(facility["balance_yen"]), credit["judgement"])
        names = [Text("与信額", "granted"), Text("残高", "balance"), Text("判定", "judgement")]
        self._teller.rows(names, [row], right=[0, 1])

    async def _register(self, draft: Mapping[str, Any]) -> str:
        self._teller.step(
            Text("取引を申請する（110万円、承認待ち）", "Propose a transaction of 1,100,000 yen"), ASSISTANT
        )
        short = {"destination_id": draft["destination_id"], "lines": "…", "due_date": draft["due_date"]}
        view = await self._call("register_transaction", draft, shown=short)
        nothing = self._effects(CREATE) == 0
        said = Text("まだ何も登録されていません（提供元で確認）", "Nothing is registered yet, says the provider")
        self._check(said, holds=view["status"] == "awaiting_approval" and nothing)
        return str(view["action_id"])

    async def _approve(self, action_id: str) -> None:
        self._teller.step(Text("操作者が内容を見て押印する", "The operator reads it and seals it"), PERSON)
        self._teller.show((await self._stage.run("show", action_id)).split("╯")[0] + "╯")
        arguments = ("approve", action_id, "--by", OPERATOR)
        card = await self._stage.run_json(*arguments, secrets={"--secret-fd": PASSPHRASE})
        self._teller.answer(f"seikyu {' '.join(arguments)}  →  {card['state']}, {card['reference']}")
        said = Text("ちょうど1回だけ登録されました", "Registered exactly once")
        self._check(said, holds=card["state"] == "succeeded" and self._effects(CREATE) == 1)
        view = await self._call("get_action", {"action_id": action_id})
        self._check(
            Text("アシスタントにも結果が見えます", "The assistant sees the outcome"), holds=view["written"] == "yes"
        )

    async def _same_again(self, draft: Mapping[str, Any], action_id: str) -> None:
        self._teller.step(Text("同じ呼び出しを繰り返しても増えない", "The same call again changes nothing"), ASSISTANT)
        view = await self._call("register_transaction", draft, shown={"…": "…"})
        same = view["action_id"] == action_id and self._effects(CREATE) == 1
        self._check(
            Text("同じ申請が返り、登録は1件のまま", "The same action comes back; still one transaction"), holds=same
        )

    async def _lost_answer(self, destination: str) -> None:
        self._teller.step(
            Text("応答が途中で切れても、嘘をつかない", "The answer is cut off: no lie, no second try"), ASSISTANT
        )
        self._stage.twins.faults.add(Fault(operation=CREATE, kind=FaultKind.CUT_AFTER_EFFECT))
        draft = self._draft(destination, "設定作業", "30000")
        view = await self._call("register_transaction", draft, shown={"lines": "33,000円", "…": "…"})
        self._check(Text("「不明」と伝えました", "It said: unknown"), holds=view["status"] == "unknown")
        with anyio.fail_after(20):
            while view["status"] == "unknown":
                await anyio.sleep(0.5)
                seen = await self._client.call_tool("get_action", {"action_id": view["action_id"]})
                view = dict(seen.structured_content or {})
        said = Text("照会して完了と確かめました。登録は1件だけです", "The look-up found it: done, one transaction")
        self._check(said, holds=view["status"] == "succeeded" and self._effects(CREATE) == SMALL_AND_LARGE)

    async def _upload(self) -> None:
        self._teller.step(Text("書類を電子帳簿保存に登録する", "Store a document in invox e-storage"), ASSISTANT)
        document = {
            "path": "領収書-青葉商事.pdf",
            "doc_type": "領収書",
            "partner_name": "株式会社青葉商事",
            "transaction_amount": 1_100_000,
            "transaction_date": self._today.isoformat(),
        }
        view = await self._call("upload_e_storage_document", document)
        arguments = ("approve", str(view["action_id"]), "--by", OPERATOR)
        card = await self._stage.run_json(*arguments, secrets={"--secret-fd": PASSPHRASE})
        self._teller.answer(f"seikyu {' '.join(arguments)}  →  {card['state']}")
        stored = len(self._stage.twins.invox.documents)
        self._check(
            Text("1通だけ保存されました", "One document is stored"), holds=card["state"] == "succeeded" and stored == 1
        )

    async def _denied(self, destination: str) -> None:
        self._teller.step(Text("方針が拒否する", "What the policy denies"), ASSISTANT)
        view = await self._call(
            "register_transaction",
            self._draft(destination, "大型案件", "12000000"),
            shown={"lines": "13,200,000円", "…": "…"},
        )
        self._teller.answer(" / ".join(view["why"]))
        self._check(
            Text("拒否され、送信されていません", "Denied, never sent"),
            holds=view["status"] == "denied" and self._effects(CREATE) == SMALL_AND_LARGE,
        )

    async def _duplicate(self, destination: str) -> None:
        self._teller.step(Text("重複らしいものは人に聞く", "What looks like a duplicate asks a person"), ASSISTANT)
        view = await self._call(
            "register_transaction",
            self._draft(destination, "設定作業（再）", "30000"),
            shown={"lines": "33,000円", "…": "…"},
        )
        self._teller.answer(" / ".join(view["why"]))
        self._check(
            Text("5万円以下でも承認待ちになりました", "It waits, although it is small"),
            holds=view["status"] == "awaiting_approval",
        )
        await self._call("withdraw_action", {"action_id": view["action_id"]})

    async def _audit(self) -> None:
        self._teller.step(Text("すべてが記録され、改ざんは見つかる", "Everything is on record, tamper-evident"), PERSON)
        report = await self._stage.run_json("audit", "verify")
        said = Text(
            f"seikyu audit verify: {report['records']}件、改ざんなし",
            f"seikyu audit verify: {report['records']} records, the chain holds",
        )
        self._check(said, holds=report["fault"] is None)


async def play(lang: Lang, *, keep: bool) -> int:
    """Tell the story; 0 when every check held, 1 otherwise. With `keep`, leave everything running instead."""
    teller = Teller(lang)
    teller.open()
    teller.preparing(
        Text("提供元・鍵・接続・操作者を用意しています", "setting up providers, key, connections and an operator")
    )
    started = time.monotonic()
    try:
        async with set_stage(lang) as stage:
            if keep:
                await keep_running(stage, teller)
                return 0
            await _tell(stage, teller)
    except (Broken, CommandFailed) as error:
        teller.proof(Text(f"途中で止まりました: {error}", f"The story stopped: {error}"), holds=False)
        return 1
    teller.close(_command(), int(time.monotonic() - started))
    return 0


def _command() -> str:
    """The command a client's configuration needs: whole, for clients do not know this folder."""
    beside = Path(sys.executable).with_name("seikyu")
    return str(beside) if beside.exists() else "seikyu"


async def _tell(stage: Stage, teller: Teller) -> None:
    command = stage.command
    server = StdioServerParameters(command=command[0], args=[*command[1:], "serve"], env=stage.environment)
    teller.preparing(Text("サーバーをクライアントと同じ方法で起動しています", "starting the server as a client does"))
    async with Client(server) as client:
        tools = (await client.list_tools()).tools
        teller.preparing(Text(f"道具 {len(tools)}個が見えます", f"{len(tools)} tools are listed"))
        await Story(stage, client, teller).tell()
