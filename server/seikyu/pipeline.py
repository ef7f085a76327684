"""The only road from a tool call to a provider: validate, plan, judge, propose or run, record."""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeAlias

from pydantic import ValidationError

from seikyu.errors import NOTHING, InvalidArguments, Lang, NotAllowed, SeikyuError, Text
from seikyu.gate.actions import Action, State, new_action_id
from seikyu.gate.canonical import canonical, sha256
from seikyu.gate.cards import NEXT, CardIndex
from seikyu.gate.execution import Executor
from seikyu.gate.misfits import misfits
from seikyu.gate.proposals import Desk, Proposal, own
from seikyu.gate.revisions import NO_CHANGE, Draft, Revisions, differences
from seikyu.gate.targets import Found
from seikyu.models import Clock, jst_date, shown
from seikyu.settings import Settings
from seikyu.spec import (
    ActionView,
    Answer,
    Call,
    Command,
    Connection,
    ConnectionView,
    Effect,
    Inbox,
    Plan,
    PreviewView,
    Principal,
    Reader,
    StoredFile,
    Tool,
    ToolAnswer,
    WriteOperation,
)
from seikyu.store.database import Store

log = logging.getLogger(__name__)

FIRST_LINES: Final = 30
LAST_LINES: Final = 10
"""Of a long preview: what concerns the whole stands first and last, and the many lines are the caller's own words."""

_INTERNAL: Final = Text("Seikyu の内部で問題が起きました。", "Something failed inside Seikyu.")
_LOOK: Final = Text(
    "list_actions で申請の状態を確かめてください。", "Call list_actions to see whether an action was made."
)


class Vault(Protocol):
    """What the pipeline may ask of the vault: whether, never what."""

    def has(self, connection: Connection) -> bool:
        """Whether a secret is stored for the connection."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """What the pipeline walks through; built by `app`."""

    settings: Settings
    store: Store
    clock: Clock
    desk: Desk
    revisions: Revisions
    cards: CardIndex
    executor: Executor
    vault: Vault
    inbox: Inbox
    reader_of: Callable[[Connection], Reader]
    operations: Mapping[str, WriteOperation[Any]]


class Pipeline:
    """Takes a tool call from a surface and answers it. Nothing else reaches a provider."""

    def __init__(self, tools: Sequence[Tool], rooms: Callable[[], Rooms]) -> None:
        self.tools = tuple(tools)
        self._by_name = {tool.name: tool for tool in tools}
        self._open = rooms
        self._opened: Rooms | None = None

    @property
    def _rooms(self) -> Rooms:
        """Opened at the first call: a server that only lists its tools touches no database."""
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    async def call(self, principal: Principal, name: str, arguments: Mapping[str, object] | None) -> ToolAnswer:
        """Answer one call. Never raises: every failure is an answer that says what happened and what next."""
        try:
            tool = self._tool(name)
            command = validated(tool, arguments or {})
            return _wire(await self._walk(tool, command, principal), principal)
        except SeikyuError as error:
            return ToolAnswer(None, error.say(principal.lang), is_error=True, code=error.code)
        except Exception:
            # the traceback stays in our log: it may hold what a model must not read
            log.exception("a call of %s failed inside Seikyu", shown(name, 60))
            return ToolAnswer(None, (_INTERNAL + _LOOK).say(principal.lang), is_error=True, code="internal")

    def _tool(self, name: str) -> Tool:
        tool = self._by_name.get(name)
        if tool is None:
            near = _nearest(name, self._by_name)
            raise InvalidArguments(
                Text(f"{shown(name, 60)} という道具はありません。", f"There is no tool {shown(name, 60)}."), near
            )
        return tool

    async def _walk(self, tool: Tool, command: Command, principal: Principal) -> Answer:
        call = await self._call(tool, command, principal)
        if tool.effect in {Effect.READ, Effect.LOCAL}:
            return await _run(tool, command, call)
        if tool.effect is Effect.WRITE:
            self._refuse_read_only()
            await self._rooms.executor.look()
            earlier = await self._same_call(tool, command, call)
            if earlier is not None:
                return await self._say(earlier, principal, asked=call_digest(tool, command, call, ()))
        plan = await _plan(tool, command, call)
        if tool.effect is Effect.PREVIEW:
            return await self._preview(self._proposal(tool, command, call, plan), principal)
        plan = await self._with_target(plan, call)
        return await self._propose(self._proposal(tool, command, call, plan), principal)

    def _refuse_read_only(self) -> None:
        if self._rooms.settings.is_read_only:
            raise NotAllowed(
                Text("このサーバーは読み取り専用です。", "This server is read-only."),
                Text("書き込むには設定の変更が必要です。", "A person has to change its configuration to allow writes."),
            )

    async def _call(self, tool: Tool, command: Command, principal: Principal) -> Call:
        rooms, now = self._rooms, self._rooms.clock.now()
        target = None if tool.provider is None else self._target(tool, command)
        return Call(
            principal=principal,
            action_id=new_action_id(now),
            now=now,
            today=jst_date(now),
            desk=_OwnDesk(rooms, principal, self.revise),
            inbox=rooms.inbox,
            connections=tuple(ConnectionView(row, rooms.vault.has(row)) for row in rooms.settings.connections)
            if tool.provider is None
            else (),
            target=target,
            reader=None if target is None else rooms.reader_of(target),
        )

    def _target(self, tool: Tool, command: Command) -> Connection:
        """The connection a call names; the provider's only one when it names none.

        Raises:
            InvalidArguments: unknown, of another provider, or not named although there are several.
        """
        named: str | None = getattr(command, "connection", None)
        rows = [row for row in self._rooms.settings.connections if row.provider == tool.provider]
        chosen = [row for row in rows if named in (None, row.name)]
        if len(chosen) == 1:
            return chosen[0]
        names = ", ".join(row.name for row in rows) or "—"
        what = Text(
            f"{tool.provider} の接続を決められません（候補: {names}）。",
            f"Which {tool.provider} connection is meant is not clear (there are: {names}).",
        )
        raise InvalidArguments(
            what, Text("connection を指定してください。", "Name one in `connection`; list_connections shows them.")
        )

    async def _same_call(self, tool: Tool, command: Command, call: Call) -> Action | None:
        """What this very call made before. A call with a document is compared after the document is read."""
        if "path" in type(command).model_fields:
            return None
        digest = call_digest(tool, command, call, ())
        return await self._rooms.store.run(lambda: self._rooms.desk.same_call(digest))

    async def _with_target(self, plan: Plan, call: Call) -> Plan:
        """The plan with what it stands on at the provider, where its operation has such a thing."""
        operation = self._rooms.operations[plan.request.operation]
        if operation.target is None or plan.target is not None:
            return plan
        _, reader = call.at()
        return replace(plan, target=await operation.target(reader, plan.request))

    def _proposal(self, tool: Tool, command: Command, call: Call, plan: Plan) -> Proposal:
        files = [file.sha256 for file in plan.request.files]
        connection, _ = call.at()
        return Proposal(
            action_id=call.action_id,
            tool=tool.name,
            call_digest=call_digest(tool, command, call, files),
            principal=call.principal,
            connection=connection,
            operation=self._rooms.operations[plan.request.operation],
            plan=plan,
            arguments=canonical(_arguments(command)).decode(),
        )

    async def _propose(self, proposal: Proposal, principal: Principal) -> Answer:
        rooms = self._rooms
        action = await rooms.store.run(lambda: rooms.desk.propose(proposal))
        if action.state is State.APPROVED:
            # what this very call has just read is not read once more
            target = proposal.plan.target if action.id == proposal.action_id else None
            found = None if target is None else Found(action.digest, target)
            action = await rooms.executor.execute(action.id, found)
        return await self._say(action, principal, asked=proposal.call_digest)

    async def _say(self, action: Action, principal: Principal, *, asked: str) -> Answer:
        """`asked` is the digest of this call: the one that made the action, or an edit has made it another."""
        view = await _view(self._rooms, action, principal)
        said = NOTHING if action.call_digest == asked else _SINCE_EDITED
        return Answer(view, self._rooms.cards.summary(action) + said + NEXT.get(action.state, NOTHING))

    async def draft(self, action_id: str, changes: Mapping[str, object], *, lang: Lang) -> Draft:
        """An edit, validated and planned by the action's own tool on the only road; nothing is stored.

        Raises:
            NotFound, NotAllowed: no such action, or none that may be edited.
            InvalidArguments: the changed call is not one the tool takes, or nothing changes.
            ProviderError: the tool could not read what it needs.
        """
        rooms = self._rooms
        self._refuse_read_only()
        await rooms.executor.look()
        action = await rooms.store.run(lambda: rooms.revisions.editable(action_id))
        tool = self._tool(action.tool)
        if fixed := sorted({"connection", "path"} & changes.keys()):
            raise _fixed(fixed[0])
        before = json.loads(action.arguments or "{}")
        where = {"connection": action.connection} if "connection" in tool.command.model_fields else {}
        command = validated(tool, {**before, **changes, **where})
        differ = differences(before, _arguments(command))
        if not differ:
            raise InvalidArguments(Text("変更がありません。", "Nothing changes."), written=NO_CHANGE)
        call = await self._call(tool, command, Principal(action.requester, action.surface, lang))
        self._refuse_other_account(action, call)
        kept = call.inbox if not action.request.files else _KeptDocument(action)
        call = replace(call, action_id=action.id, inbox=kept)
        plan = await self._with_target(await _plan(tool, command, call), call)
        return Draft(action, self._proposal(tool, command, call, plan), differ)

    def _refuse_other_account(self, action: Action, call: Call) -> None:
        connection, _ = call.at()
        approved = tuple(action.content[name] for name in ("connection", "environment", "company", "address"))
        if approved != (connection.name, connection.environment, connection.company, connection.base_url):
            raise NotAllowed(
                Text(f"接続 {connection.name} は申請時と違います。", f"Connection {connection.name} is another now."),
                Text("connections.toml を確かめてください。", "Check connections.toml."),
                written=NO_CHANGE,
            )

    async def revise(self, action_id: str, changes: Mapping[str, object], principal: Principal) -> Action:
        """The requester's own edit. Raises as `draft` and `Revisions.revise`; `NotFound` for somebody else's."""
        rooms = self._rooms
        await rooms.store.run(lambda: rooms.desk.get(action_id, principal))
        draft = await self.draft(action_id, changes, lang=principal.lang)
        return await rooms.store.run(lambda: rooms.revisions.revise(draft))

    async def _preview(self, proposal: Proposal, principal: Principal) -> Answer:
        rooms = self._rooms
        verdict = await rooms.store.run(lambda: rooms.desk.judge(proposal))
        particulars, lang = proposal.plan.particulars, principal.lang
        lines = [f"{line.label.say(lang)}: {line.value}" for line in proposal.operation.describe(proposal.plan.request)]
        is_long = len(lines) > FIRST_LINES + LAST_LINES
        name = particulars.counterparty_name
        result = PreviewView(
            operation=proposal.operation.name,
            connection=proposal.connection.name,
            lines=[*lines[:FIRST_LINES], *lines[-LAST_LINES:]] if is_long else lines,
            lines_total=len(lines),
            truncated=is_long,
            amount_yen=particulars.amount,
            counterparty=None if name is None else shown(name, 100),
            decision=verdict.kind,
            approvers=verdict.approvers,
            why=verdict.why,
            notes=[note.say(lang) for note in proposal.plan.notes],
        )
        said = {
            "allow": Text(
                "試算のみです。登録すると承認なしで実行されます。", "Only a preview; registering it would run at once."
            ),
            "ask": Text(
                f"試算のみです。登録には{verdict.approvers}名の承認が必要です。",
                f"Only a preview; registering it would wait for {verdict.approvers} approver(s).",
            ),
            "deny": Text("試算のみです。方針により登録できません。", "Only a preview; the policy would deny it."),
        }
        return Answer(result, said[verdict.kind])


async def _run(tool: Tool, command: Command, call: Call) -> Answer:
    if tool.run is None:
        msg = f"{tool.name} has no run"
        raise RuntimeError(msg)
    return await tool.run(command, call)


async def _plan(tool: Tool, command: Command, call: Call) -> Plan:
    if tool.plan is None:
        msg = f"{tool.name} has no plan"
        raise RuntimeError(msg)
    return await tool.plan(command, call)


async def _view(rooms: Rooms, action: Action, principal: Principal) -> ActionView:
    return (await _views(rooms, [action], principal))[0]


async def _views(rooms: Rooms, actions: Sequence[Action], principal: Principal) -> list[ActionView]:
    have = await rooms.store.run(lambda: rooms.desk.have_votes(actions))
    return [rooms.cards.view(action, have=have[action.id], lang=principal.lang) for action in actions]


_SINCE_EDITED: Final = Text(
    "この呼び出しの申請はその後修正されています。", "What this call asked for was edited since; this is how it stands."
)


def _arguments(command: Command) -> dict[str, object]:
    """What was given, without the connection: that is fixed with the action."""
    return command.model_dump(mode="json", exclude={"connection"}, exclude_none=True)


def _fixed(name: str) -> NotAllowed:
    return NotAllowed(
        Text(f"{name} は修正できません。", f"`{name}` cannot be edited."),
        Text("取り下げて、新しく申請してください。", "Withdraw the action and propose it anew."),
        written=NO_CHANGE,
    )


class _KeptDocument:
    """The document an action already has: an edit never takes another one, whatever lies at the path now."""

    def __init__(self, action: Action) -> None:
        [self._file] = action.request.files

    def take(self, path: str) -> StoredFile:
        del path
        return StoredFile(self._file.name, self._file.size, self._file.sha256)


def _wire(answer: Answer, principal: Principal) -> ToolAnswer:
    return ToolAnswer(answer.result.model_dump(mode="json"), answer.sentence.say(principal.lang))


def call_digest(tool: Tool, command: Command, call: Call, files: Sequence[str]) -> str:
    """What makes two calls the same: who, which tool, where, the arguments, the documents' content."""
    connection, _ = call.at()
    return sha256(
        canonical(
            {
                "requester": call.principal.requester,
                "tool": tool.name,
                "connection": connection.name,
                "arguments": command.model_dump(mode="json", exclude={"connection"}),
                "files": list(files),
            }
        )
    )


def validated(tool: Tool, arguments: Mapping[str, object]) -> Any:  # noqa: ANN401 - the tool's own command type
    """The arguments as the tool's command, strictly: unknown names are refused, nothing is coerced.

    Raises:
        InvalidArguments: every fault, each with its place; never the value.
    """
    known = tool.command.model_fields
    unknown = [name for name in arguments if name not in known]
    if unknown:
        near = _nearest(unknown[0], known)
        names = ", ".join(shown(name, 60) for name in unknown[:5])
        raise InvalidArguments(
            Text(f"{tool.name} に {names} という引数はありません。", f"{tool.name} has no argument {names}."), near
        )
    try:
        return tool.command.model_validate_json(json.dumps(arguments))
    except ValidationError as error:
        found = misfits(error)
        raise InvalidArguments(
            Text(
                f"{tool.name} の引数に誤りがあります（{found.ja}）。",
                f"{tool.name} was called with wrong arguments: {found.en}.",
            ),
            Text("直してもう一度呼んでください。", "Correct them and call again."),
        ) from None


def _nearest(name: str, known: Mapping[str, object]) -> Text:
    found = difflib.get_close_matches(name, known, n=1)
    if found:
        return Text(f"{found[0]} のことですか？", f"Did you mean {found[0]}?")
    listed = ", ".join(sorted(known)) or "—"
    return Text(f"使えるのは {listed} です。", f"There are: {listed}.")


Revise: TypeAlias = Callable[[str, Mapping[str, object], Principal], Awaitable[Action]]


class _OwnDesk:
    """The requester's own actions, for the tools that show and withdraw them."""

    def __init__(self, rooms: Rooms, principal: Principal, revise: Revise) -> None:
        self._rooms = rooms
        self._principal = principal
        self._revise = revise

    async def get(self, action_id: str) -> ActionView:
        action = await self._rooms.store.run(lambda: self._rooms.desk.get(action_id, self._principal))
        return await _view(self._rooms, own(action, self._principal), self._principal)

    async def list(
        self, *, status: str | None, limit: int, cursor: str | None
    ) -> tuple[list[ActionView], int, str | None]:
        page = await self._rooms.store.run(
            lambda: self._rooms.desk.page(requester=self._principal.requester, state=status, limit=limit, cursor=cursor)
        )
        known = [action for action in page.actions if action.operation in self._rooms.operations]
        views = await _views(self._rooms, known, self._principal)
        return views, page.total, page.older

    async def withdraw(self, action_id: str) -> ActionView:
        action = await self._rooms.store.run(lambda: self._rooms.desk.withdraw(action_id, self._principal))
        return await _view(self._rooms, action, self._principal)

    async def revise(self, action_id: str, changes: Mapping[str, object]) -> ActionView:
        action = await self._revise(action_id, changes, self._principal)
        return await _view(self._rooms, action, self._principal)
