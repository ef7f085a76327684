"""The words between a tool, the gate and a provider: commands, operations, requests, plans, outcomes.

Values and protocols only; nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any, BinaryIO, Generic, Literal, Protocol, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict

from seikyu.errors import Lang, Text
from seikyu.models import Connection as Connection  # noqa: PLC0414 - a word of this room too
from seikyu.models import Environment as Environment  # noqa: PLC0414
from seikyu.models import IsoDate
from seikyu.models import ProviderName as ProviderName  # noqa: PLC0414

Json: TypeAlias = bool | int | str | Sequence["Json"] | Mapping[str, "Json"] | None
"""JSON without floating-point numbers; decimals travel as text."""


TargetRecord: TypeAlias = Mapping[str, str]
"""What a write stands on at the provider, flat; empty when it is gone. Nothing that changes in ordinary life."""

AnswerT = TypeVar("AnswerT", bound=BaseModel)
CommandT = TypeVar("CommandT", bound="Command")


class Command(BaseModel):
    """The arguments of a tool: the schema a model sees, the validation, and what the policy judges."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", defer_build=True)


class Result(BaseModel):
    """What a tool answers; its schema is the tool's `outputSchema`."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Effect(StrEnum):
    """What a tool does to the world."""

    READ = "read"
    """Reads from a provider or from our own records."""
    PREVIEW = "preview"
    """Plans and judges a write, proposes nothing."""
    WRITE = "write"
    """Proposes a write at a provider; only the gate sends it."""
    LOCAL = "local"
    """Changes our own records only, never to let something happen: withdraw."""


class OutcomeClass(StrEnum):
    """What can be known after the answer to a write was lost."""

    A = "A"
    """A natural unique key and a look-up by it: settle, look up, compare every field."""
    B = "B"
    """The provider honours an idempotency key inside a window."""
    C = "C"
    """Searchable, no key: search, and a person confirms absence."""
    D = "D"
    """Neither: a person, always."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: the human behind the assistant. Set once, at the surface."""

    requester: str
    surface: str
    lang: Lang = "ja"


class FileDigest(BaseModel):
    """A document that travels with a request: what it is, never its bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: str
    size: int
    """Bytes."""
    sha256: str
    """Lower-case hex."""
    field: str
    """Where the base64 of the content belongs in the body: keys joined by dots."""


class ProviderRequest(BaseModel):
    """The exact request: what is shown, hashed, approved and sent. `body` holds no float."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    operation: str
    path: Mapping[str, str] = {}
    """Path parameters, not yet encoded."""
    body: Mapping[str, Any] | None = None
    """JSON object without floats (see `Json`); None for a request without a body."""
    files: tuple[FileDigest, ...] = ()


class Particulars(BaseModel):
    """What the policy judges and the operator reads first. Facts of the request, not of the agent's words."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    amount: int | None = None
    """Yen, tax included; None when the operation moves no amount."""
    counterparty_id: str | None = None
    counterparty_name: str | None = None
    """The provider's words, untrusted."""
    transaction_date: IsoDate | None = None
    due_date: IsoDate | None = None
    destination: str | None = None
    """Where the invoice goes: the provider's id of it, or its address; None when nothing is sent to anybody."""
    document_amount: int | None = None
    """Yen that stand on a stored document: it is found by them, and no policy, total or ceiling counts them."""

    @property
    def recorded_amount(self) -> int | None:
        """What an auditor searches by, 取引金額: yen that are moved, or that stand on the document."""
        return self.document_amount if self.amount is None else self.amount


@dataclass(frozen=True, slots=True)
class Plan:
    """A write, worked out but not proposed."""

    request: ProviderRequest
    particulars: Particulars
    natural_key: str | None = None
    """Unique at the provider within the account; looked up after a lost answer."""
    notes: tuple[Text, ...] = ()
    """What a person should know besides the request, such as the credit left; not part of the digest."""
    target: TargetRecord | None = None
    """What the operation's `target` would read, where the planning has read it anyway."""


@dataclass(frozen=True, slots=True)
class CardLine:
    """One line of what an operator reads, made from the stored request."""

    label: Text
    value: str


@dataclass(frozen=True, slots=True)
class Done:
    """The provider's own data says the request took effect."""

    reference: str
    """The provider's id of what now exists."""
    facts: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """What the provider said of it, such as its status; short, no secrets."""
    counterparty_id: str | None = None
    """Whose it is, as the provider said: a request may name no customer where the approval does."""
    amount: int | None = None
    """Yen it came to, as the provider said, where the request itself does not say."""


@dataclass(frozen=True, slots=True)
class Different:
    """Something exists under our key, but it is not what we asked for."""

    reason: Text
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Absent:
    """The look-up worked and found nothing. Not proof at once: an effect may land late."""


Finding: TypeAlias = Done | Different | Absent


@dataclass(frozen=True, slots=True)
class NotSent:
    """No byte of the request left this machine."""

    reason: Text
    needs_person: bool = False
    """Nothing will leave before a person acts, such as connecting the account again; trying does not count."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider answered in its own format: no. Nothing was written there."""

    reason: Text
    status: int
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lost:
    """Bytes left, and no trustworthy answer came back: the outcome is unknown."""

    reason: Text
    status: int | None = None


Sent: TypeAlias = Done | Different | NotSent | Refused | Lost


class Reader(Protocol):
    """Reads at one connection. There is no way to write through it."""

    async def read(
        self, operation: Operation[AnswerT], *, path: Mapping[str, str] = ..., query: Sequence[tuple[str, str]] = ...
    ) -> AnswerT:
        """Run a read operation.

        Raises:
            ProviderError: no answer that can be used.
            LoginRequired: the grant is gone.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Generic[AnswerT]):
    """A row of a provider's operation table: one call of its API that only reads."""

    name: str
    """`<provider>.<verb_noun>`, the same in the policy, the audit and the twins."""
    provider: ProviderName
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    """Under the connection's base address; `{name}` marks a path parameter."""
    answer: type[AnswerT]
    title: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOperation(Operation[AnswerT]):
    """A row that writes. Only the gate's executor sends it."""

    outcome_class: OutcomeClass
    kind: Literal["bill", "cancel", "document"] = "bill"
    """What is compared with what when looking for duplicates: bills with bills, documents with documents."""
    describe: Callable[[ProviderRequest], tuple[CardLine, ...]]
    """The lines an operator reads, from the request alone."""
    settle: Callable[[ProviderRequest, AnswerT], Done | Different]
    """Compare the provider's answer with what was asked."""
    look_up: Callable[[Reader, ProviderRequest], Awaitable[Finding]] | None = None
    """Find out after a lost answer; classes A and C have one."""
    conflict_codes: frozenset[str] = frozenset()
    """Refusal codes that mean "something is already there": looked up and compared, never taken as success."""
    is_too_often: Callable[[int, object], bool] | None = None
    """Whether a 4xx (status, JSON) says only "too often": nothing was done, whatever the status usually means."""
    reverses: str | None = None
    """The operation this one undoes, such as a cancellation."""
    read_back: Callable[[Reader, str], Awaitable[Mapping[str, Json]]] | None = None
    """What the provider now says of what exists under a reference: facts as in `Done`."""
    pinned: Callable[[ProviderRequest], Json] = lambda request: request.model_dump(mode="json")
    """What an operator's edit may not touch, above all to whom it goes; everything, unless the row says less."""
    target: Callable[[Reader, ProviderRequest], Awaitable[TargetRecord]] | None = None
    """Read what the request stands on. Sealed with it, read again before it is sent: different is not approved."""
    target_names: Mapping[str, Text] = field(default_factory=dict[str, Text])
    """What the fields of the target are called."""


Fence: TypeAlias = Callable[[], Awaitable[None]]
"""Called immediately before the first byte leaves; raises `NotAllowed` when the claim is no longer ours."""


class Sender(Protocol):
    """Sends a claimed request at one connection, once."""

    async def send(self, operation: WriteOperation[Any], request: ProviderRequest, *, fence: Fence) -> Sent:
        """Send on a fresh connection: no retry, no redirect, a total deadline. Never raises for what the wire does."""
        ...


class OpenFile(Protocol):
    """Opens a kept document for reading by its SHA-256."""

    def __call__(self, sha256: str) -> BinaryIO:
        """Raises `StoreDamaged` when the content is not there or is not what its name says."""
        ...


class Credential(Protocol):
    """The authentication header of one connection."""

    async def header(self, *, refused: str | None = None) -> tuple[str, str]:
        """Name and value. `refused` is the value the provider just called expired: renew once if it is still ours.

        Raises:
            LoginRequired: a person must connect the account again.
        """
        ...


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A document taken into our own keeping, so that what was approved is what is sent."""

    name: str
    size: int
    sha256: str


class Inbox(Protocol):
    """Takes documents from the allow-listed folders."""

    def take(self, path: str) -> StoredFile:
        """Copy the file at `path` into our keeping; the same content is kept once.

        Raises:
            InvalidArguments: outside the allowed folders, not a plain file, too large, or of another kind than it says.
        """
        ...


class ActionView(Result):
    """An action as its requester sees it. Never holds the request's body or a secret."""

    action_id: str
    status: str
    operation: str
    connection: str
    summary: str
    amount_yen: int | None
    counterparty: str | None
    written: Literal["no", "yes", "unknown"]
    provider_ref: str | None
    provider_status: str | None
    approvals: str
    """`1/2`: votes counted and votes needed."""
    why: list[str]
    digest: str
    """First 12 hex digits."""
    expires_at: str | None
    approval_url: str | None
    next: str


class PreviewView(Result):
    """What would be sent, and what the policy would say now. Nothing is stored."""

    operation: str
    connection: str
    lines: list[str]
    """The first and the last when there are many."""
    lines_total: int
    truncated: bool
    amount_yen: int | None
    counterparty: str | None
    decision: Literal["allow", "ask", "deny"]
    approvers: int
    why: list[str]
    notes: list[str]


class Desk(Protocol):
    """The requester's own actions. Nothing here approves."""

    async def get(self, action_id: str) -> ActionView:
        """Raises `NotFound` for an action that is not this requester's."""
        ...

    async def list(
        self, *, status: str | None, limit: int, cursor: str | None
    ) -> tuple[list[ActionView], int, str | None]:
        """A page, newest first, how many match in all, and the cursor of the next page."""
        ...

    async def withdraw(self, action_id: str) -> ActionView:
        """Raises `NotAllowed` once the action is being sent."""
        ...

    async def revise(self, action_id: str, changes: Mapping[str, object]) -> ActionView:
        """Raises `NotAllowed` once the action was decided; every vote on what it was is void."""
        ...


@dataclass(frozen=True, slots=True)
class RuleTrace:
    """One rule, whether it was hit, and its reason in the operator's words."""

    rule: str
    verdict: Literal["allow", "ask", "deny"]
    is_hit: bool
    why: str


@dataclass(frozen=True, slots=True)
class Seat:
    """Votes that count only from operators who hold a role."""

    role: str
    approvers: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The policy's decision with the trace of every rule."""

    kind: Literal["allow", "ask", "deny"]
    approvers: int
    """Votes needed; 0 for allow and deny."""
    trace: tuple[RuleTrace, ...]
    policy_sha256: str
    seats: tuple[Seat, ...] = ()
    """What the votes must include; each role once, in the order of its name."""
    is_distinct: bool = False
    """Nobody fills two of the seats, whatever roles they hold."""

    @property
    def why(self) -> list[str]:
        """The reasons that decided."""
        return [f"{rule.rule}: {rule.why}" for rule in self.trace if rule.is_hit and rule.verdict == self.kind]


@dataclass(frozen=True, slots=True)
class ConnectionView:
    """A connection as the requester sees it."""

    connection: Connection
    has_secret: bool


@dataclass(frozen=True, slots=True)
class Call:
    """What a tool is handed after the verdict. It holds no client that could write."""

    principal: Principal
    action_id: str
    """Minted for this call; natural keys are derived from it."""
    now: datetime
    today: date
    """In Japan."""
    desk: Desk
    inbox: Inbox
    connections: tuple[ConnectionView, ...]
    target: Connection | None = None
    """The connection the call named, or the provider's only one."""
    reader: Reader | None = None
    """Reads at `target`."""

    @property
    def lang(self) -> Lang:
        return self.principal.lang

    def at(self) -> tuple[Connection, Reader]:
        """The connection and its reader, for a tool that has a provider."""
        if self.target is None or self.reader is None:
            msg = "a tool without a provider asked for one"
            raise RuntimeError(msg)
        return self.target, self.reader


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool says: typed data, and one sentence."""

    result: Result
    sentence: Text


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What leaves the pipeline for a surface: ready for the wire, nothing secret in it."""

    structured: Mapping[str, Any] | None
    text: str
    is_error: bool = False
    code: str | None = None
    """The error's `code`, see `errors`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec(Generic[CommandT]):
    """A tool is a row of data. Its description is the command's docstring.

    Reads and local tools have `run`; writes and previews have `plan`.
    """

    name: str
    title: str
    effect: Effect
    command: type[CommandT]
    result: type[Result]
    toolset: str
    provider: ProviderName | None = None
    run: Callable[[CommandT, Call], Awaitable[Answer]] | None = None
    plan: Callable[[CommandT, Call], Awaitable[Plan]] | None = None


Tool: TypeAlias = ToolSpec[Any]
"""Any row; the pipeline pairs a row's command with its own functions."""
