"""Errors as Kessai words them: a bare array, each entry with a code, a message and what was sent.

Source: errors, error codes, read 2026-11-21. The texts of the messages are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from seikyu.sandbox.wire import Answer, Json, dump_json, html_answer, json_answer


@dataclass(frozen=True, slots=True)
class Problem:
    """One entry of the error array; `param` stays out when empty."""

    code: str
    message: str
    param: str = ""
    kind: str = "invalid_argument_error"

    def shown(self) -> dict[str, Json]:
        entry: dict[str, Json] = {"code": self.code, "message": self.message}
        if self.param:
            entry["param"] = self.param
        return {**entry, "type": self.kind}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request was refused, with its HTTP status."""

    status: int
    problems: Sequence[Problem]

    def answer(self) -> Answer:
        return json_answer(self.status, [problem.shown() for problem in self.problems])


def as_sent(value: Json) -> str:
    return value if isinstance(value, str) else dump_json(value)


def not_found(id_sent: str) -> Refusal:
    return Refusal(404, [Problem("not_found", "no such object", id_sent, "not_found_error")])


def number_taken() -> Refusal:
    # "exisits": the value set of `type` is spelled this way; error object, read 2026-11-21
    return Refusal(409, [Problem("already_exists", "number is already used", kind="already_exisits_error")])


def already_cancelled(transaction_id: str) -> Refusal:
    # a guess: 409 is documented, which code and type come with it is not
    code, kind = "not_cancelable_transaction_status", "conflict_operation_error"
    return Refusal(409, [Problem(code, "already cancelled", transaction_id, kind)])


def not_cancelable(transaction_id: str) -> Refusal:
    problem = Problem("not_cancelable_transaction_status", "cannot be cancelled in this state", transaction_id)
    return Refusal(400, [problem])


def unauthorized() -> Refusal:
    # a guess: the array and 401 are documented, none of the codes is about the key
    return Refusal(401, [Problem("forbidden_seller", "apikey is missing or wrong", kind="forbidden")])


def rate_limited() -> Refusal:
    # a guess: the type is documented, a code for it is not
    return Refusal(429, [Problem("request_canceled", "too many requests", kind="rate_limit_error")])


def failure(status: int) -> Answer:
    """Return an error of this status: the array below 500, and a page from a proxy above it."""
    match status:
        case 401:
            return unauthorized().answer()
        case 404:
            return not_found("").answer()
        case 429:
            return rate_limited().answer()
        case _ if status < 500:  # noqa: PLR2004 - from here on it is the server's own fault
            return Refusal(status, [Problem("request_canceled", f"refused with {status}")]).answer()
        case _:
            return html_answer(status, f"{status} Service trouble")
