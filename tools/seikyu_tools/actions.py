"""The requester's own actions: what became of a proposed write. Nothing here approves."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from seikyu.errors import Text
from seikyu.models import misfit
from seikyu.spec import ActionView, Answer, Call, Command, Effect, Result, Tool, ToolSpec

Status = Literal[
    "awaiting_approval",
    "approved",
    "executing",
    "succeeded",
    "failed",
    "unknown",
    "manual_review",
    "denied",
    "rejected",
    "returned",
    "withdrawn",
    "revoked",
    "expired",
]

ActionId = Annotated[str, Field(max_length=40, description="As returned by a write tool.")]


def _cursor(value: str) -> str:
    """Any other text has its place in the order too, and would answer with a page that nobody asked for."""
    if not value.startswith("act-"):
        raise misfit("next_cursor の値をそのまま書いてください", "must be a next_cursor as this tool returned it")
    return value


class GetAction(Command):
    """Tell how a proposed write stands: waiting, done, refused or unknown. Call it instead of repeating the write."""

    action_id: ActionId


class ListActions(Command):
    """List your proposed writes, newest first."""

    status: Status | None = None
    limit: Annotated[int, Field(ge=1, le=50)] = 20
    cursor: Annotated[str, Field(max_length=40), AfterValidator(_cursor)] | None = None


class WithdrawAction(Command):
    """Take back a proposed write that was not sent yet."""

    action_id: ActionId


class ReviseAction(Command):
    """Correct a write that awaits approval: a new revision, its votes void. It stays the same action."""

    action_id: ActionId
    changes: Annotated[dict[str, Any], Field(min_length=1, description="the write tool's arguments to replace")]


class ActionRow(Result):
    """An action in a list."""

    action_id: str
    status: str
    summary: str
    counterparty: str | None
    written: Literal["no", "yes", "unknown"]


class ActionPage(Result):
    """A page of actions."""

    actions: list[ActionRow]
    returned: int
    total: int
    truncated: bool
    next_cursor: str | None


def _row(view: ActionView) -> ActionRow:
    return ActionRow(
        action_id=view.action_id,
        status=view.status,
        summary=view.summary,
        counterparty=view.counterparty,
        written=view.written,
    )


def _sentence(view: ActionView) -> Text:
    said = f"{view.summary} {view.next}".strip()
    return Text(said, said)


async def _get_action(command: GetAction, call: Call) -> Answer:
    view = await call.desk.get(command.action_id)
    return Answer(view, _sentence(view))


async def _list_actions(command: ListActions, call: Call) -> Answer:
    views, total, cursor = await call.desk.list(status=command.status, limit=command.limit, cursor=command.cursor)
    rows = [_row(view) for view in views]
    page = ActionPage(actions=rows, returned=len(rows), total=total, truncated=cursor is not None, next_cursor=cursor)
    return Answer(page, Text(f"{total}件中{len(rows)}件です。", f"{len(rows)} of {total} actions."))


async def _withdraw_action(command: WithdrawAction, call: Call) -> Answer:
    view = await call.desk.withdraw(command.action_id)
    return Answer(view, _sentence(view))


async def _revise_action(command: ReviseAction, call: Call) -> Answer:
    view = await call.desk.revise(command.action_id, command.changes)
    return Answer(view, _sentence(view))


TOOLS: tuple[Tool, ...] = (
    ToolSpec(
        name="get_action",
        title="申請の状態を確認",
        effect=Effect.READ,
        command=GetAction,
        result=ActionView,
        toolset="actions",
        run=_get_action,
    ),
    ToolSpec(
        name="list_actions",
        title="申請の一覧",
        effect=Effect.READ,
        command=ListActions,
        result=ActionPage,
        toolset="actions",
        run=_list_actions,
    ),
    ToolSpec(
        name="withdraw_action",
        title="申請を取り下げ",
        effect=Effect.LOCAL,
        command=WithdrawAction,
        result=ActionView,
        toolset="actions",
        run=_withdraw_action,
    ),
    ToolSpec(
        name="revise_action",
        title="申請を修正",
        effect=Effect.LOCAL,
        command=ReviseAction,
        result=ActionView,
        toolset="actions",
        run=_revise_action,
    ),
)
