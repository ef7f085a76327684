"""What can stop the work, and what it means for the caller.

    SeikyuError                     every error of ours; says what happened, was anything written, what next
    ├── InvalidArguments            the model may correct the call and try again
    ├── NotFound                    the named thing does not exist for this caller
    ├── NotAllowed                  the rules, the state or a missing right forbid it; trying again changes nothing
    │   └── VoteRefused             an operator's decision did not count
    ├── ConfigurationError          a person must mend a file or a variable
    ├── LoginRequired               a person must connect the account again
    ├── StoreBusy                   the database could not be used; try again
    ├── CommitUnknown               the database was lost during a commit; look before anything follows from it
    ├── Taken                       a row of that key is there already; nothing of the transaction was stored
    ├── OutcomeNotRecorded          a write was sent and its outcome could not be stored; it is being looked up
    ├── StoreDamaged                a row is not what we wrote; a person must look
    ├── NotDelivered                a notice did not reach its channel; it is tried again later
    └── ProviderError               a read failed; nothing was written
        ├── ProviderRefused         the provider answered, in its own format: no
        ├── ProviderBusy            the provider asks to wait (429)
        └── ProviderUnavailable     no trustworthy answer

A write that was sent without a trustworthy answer is never an exception: it is an outcome, `unknown`, on the action.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

Lang: TypeAlias = Literal["ja", "en"]


@dataclass(frozen=True, slots=True)
class Text:
    """One sentence or more, in both languages of our users."""

    ja: str
    en: str

    def say(self, lang: Lang) -> str:
        return self.ja if lang == "ja" else self.en

    def __add__(self, other: Text) -> Text:
        """Join two texts; English sentences are parted by a space."""
        return Text(self.ja + other.ja, f"{self.en} {other.en}".strip())


NOTHING = Text("", "")
NOTHING_WRITTEN = Text("何も登録されていません。", "Nothing was written.")


class SeikyuError(Exception):
    """Something stopped the work.

    `what` says what happened and to what; `next_step` the one thing to do now. Neither ever holds a token, a
    body or a stack. `written` says whether anything reached a provider.
    """

    code: ClassVar[str] = "error"
    may_retry: ClassVar[bool] = False

    def __init__(self, what: Text, next_step: Text = NOTHING, *, written: Text = NOTHING_WRITTEN) -> None:
        super().__init__(what.en)
        self.what = what
        self.next_step = next_step
        self.written = written

    @property
    def text(self) -> Text:
        """What happened, whether anything was written, and the next step, in this order."""
        return self.what + self.written + self.next_step

    def say(self, lang: Lang) -> str:
        return self.text.say(lang)


class InvalidArguments(SeikyuError):
    """The call's arguments do not fit; the model may correct them."""

    code = "invalid_arguments"
    may_retry = True


class NotFound(SeikyuError):
    """The named thing does not exist, or is not this caller's to see."""

    code = "not_found"


class NotAllowed(SeikyuError):
    """The rules, the state of the action or a missing right forbid it."""

    code = "not_allowed"


class VoteRefused(NotAllowed):
    """An operator's decision did not count: wrong passphrase, own request, expired, decided already."""

    code = "vote_refused"


class ConfigurationError(SeikyuError):
    """A person must mend a configuration file or a variable."""

    code = "configuration"


class LoginRequired(SeikyuError):
    """The provider no longer accepts our grant; a person must connect the account again."""

    code = "login_required"


class StoreBusy(SeikyuError):
    """The database stayed locked longer than we wait, or cannot be written. The transaction changed nothing."""

    code = "store_busy"
    may_retry = True


class CommitUnknown(SeikyuError):
    """The database went away while it committed: the change is stored whole, or not at all, and nobody knows which.

    Not a `StoreBusy`, so that nobody takes it for "nothing was changed".
    """

    code = "commit_unknown"

    def __init__(self) -> None:
        super().__init__(
            Text(
                "保存の途中でデータベースとの接続が切れました。",
                "The connection to the database was lost while it was storing this.",
            ),
            Text("もう一度表示して、どうなったか確かめてください。", "Look at it again to see how it stands."),
            written=Text("保存されたかどうかは分かりません。", "Whether it was stored is not known."),
        )


class Taken(SeikyuError):
    """A row of that key is there already; nothing of the transaction was stored."""

    code = "taken"

    def __init__(self) -> None:
        super().__init__(Text("同じものが既に記録されています。", "The same is recorded already."))


class OutcomeNotRecorded(SeikyuError):
    """A write was sent, and its outcome could not be stored."""

    code = "outcome_not_recorded"


class StoreDamaged(SeikyuError):
    """A row is not what we wrote: a broken seal, a broken chain, a row that does not decrypt."""

    code = "store_damaged"


class NotDelivered(SeikyuError):
    """A channel did not take a notice; nothing else depends on it."""

    code = "not_delivered"
    may_retry = True

    def __init__(self, what: Text, next_step: Text = NOTHING, *, retry_after_s: int | None = None) -> None:
        super().__init__(what, next_step, written=NOTHING)
        self.retry_after_s = retry_after_s
        """How long the channel asked us to wait; None when it did not say."""


class ProviderError(SeikyuError):
    """A read from a provider failed."""

    code = "provider_error"


class ProviderRefused(ProviderError):
    """The provider answered in its own format and said no."""

    code = "provider_refused"


class ProviderBusy(ProviderError):
    """The provider asks to wait; nothing was processed."""

    code = "provider_busy"
    may_retry = True


class ProviderUnavailable(ProviderError):
    """The provider gave no trustworthy answer to a read."""

    code = "provider_unavailable"
    may_retry = True
