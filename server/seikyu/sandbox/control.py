"""The control surface under `/_twin/`: what a test in another process asks and orders. Always JSON."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal

from pydantic import TypeAdapter

from seikyu.sandbox.effects import Effect
from seikyu.sandbox.faults import Fault, read_fault
from seikyu.sandbox.wire import Answer, Call, Json, json_answer, plain

if TYPE_CHECKING:
    from seikyu.sandbox.twins import Twins

PREFIX: Final = "/_twin/"


@dataclass(frozen=True, slots=True)
class _Advance:
    advance_s: float


@dataclass(frozen=True, slots=True)
class _RedirectUri:
    uri: str
    provider: Literal["invox", "misoca", "freee"] = "invox"


def control(twins: "Twins", call: Call) -> Answer:
    """Answer one control request; errors are `{"error": text}` with 400, 403, 404 or 405."""
    if "origin" in call.headers:
        # a web page that the user happens to have open must not steer the rehearsal
        return json_answer(403, {"error": "not for browsers"})
    ways = {name: way for (name, method), way in _WAYS.items() if method == call.method}
    name = call.path.removeprefix(PREFIX)
    if name not in ways:
        known = any(name == other for other, _ in _WAYS)
        return json_answer(405 if known else 404, {"error": f"{call.method} {call.path} is unknown"})
    try:
        return json_answer(200, ways[name](twins, call))
    except (ValueError, ArithmeticError) as error:
        return json_answer(400, {"error": str(error)})


def _effects(twins: "Twins", call: Call) -> Json:
    provider = dict(call.query_pairs).get("provider")
    chosen = [effect for effect in twins.effects if provider in (None, effect.provider)]
    return {"effects": [_shown_effect(effect) for effect in chosen]}


def _shown_effect(effect: Effect) -> Json:
    return {**asdict(effect), "at": effect.at.isoformat()}


def _requests(twins: "Twins", _call: Call) -> Json:
    return {"requests": dict(twins.requests)}


def _faults(twins: "Twins", _call: Call) -> Json:
    return {"faults": [_shown_fault(fault, left) for fault, left in twins.faults.pending]}


def _shown_fault(fault: Fault, left: int) -> Json:
    return {**asdict(fault), "seconds": plain(Decimal(fault.seconds)), "times": left}


def _add_fault(twins: "Twins", call: Call) -> Json:
    twins.faults.add(read_fault(call.body))
    return _faults(twins, call)


def _clear_faults(twins: "Twins", call: Call) -> Json:
    twins.faults.clear()
    return _faults(twins, call)


def _reset(twins: "Twins", _call: Call) -> Json:
    twins.reset()
    return {"reset": True}


def _clock(twins: "Twins", call: Call) -> Json:
    twins.advance(TypeAdapter(_Advance).validate_json(call.body, strict=True).advance_s)
    return {"now": twins.clock.now().isoformat()}


def _settle(twins: "Twins", _call: Call) -> Json:
    twins.settle()
    return {"settled": True}


def _release(twins: "Twins", _call: Call) -> Json:
    twins.faults.release()
    return {"released": True}


def _register_redirect_uri(twins: "Twins", call: Call) -> Json:
    """Register a callback, as invox does by hand for a real client, and a developer elsewhere."""
    wanted = TypeAdapter(_RedirectUri).validate_json(call.body, strict=True)
    servers = {"invox": twins.invox.oauth, "misoca": twins.misoca.oauth, "freee": twins.freee.oauth}
    oauth = servers[wanted.provider]
    oauth.redirect_uris.append(wanted.uri)
    return {"redirect_uris": oauth.redirect_uris}


_WAYS: Final[Mapping[tuple[str, str], Callable[["Twins", Call], Json]]] = {
    ("effects", "GET"): _effects,
    ("requests", "GET"): _requests,
    ("faults", "GET"): _faults,
    ("faults", "POST"): _add_fault,
    ("faults", "DELETE"): _clear_faults,
    ("reset", "POST"): _reset,
    ("clock", "POST"): _clock,
    ("settle", "POST"): _settle,
    ("redirect_uris", "POST"): _register_redirect_uri,
    ("release", "POST"): _release,
}
