"""What is wrong with the arguments of a call, in words: each fault with its place, and never the value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from seikyu.errors import Text
from seikyu.models import MISFIT, shown

MAX_FAULTS: Final = 5
"""Faults that are told at once; whoever mends these hears of the others."""

_BRANCH: Final = re.compile(r"[a-z]+(-[a-z]+)*\[.*|constrained-[a-z]+|none|str|int", re.DOTALL)
"""A part of a place that names no argument but which of several types pydantic tried."""

_SAID: Final[Mapping[str, Text]] = {
    "json_invalid": Text("半分だけの文字があるか、入れ子が深すぎます", "half a character, or nested too deep"),
    "missing": Text("必要な引数です", "it is needed"),
    "extra_forbidden": Text("この名前の引数はありません", "there is no argument of that name"),
    "int_type": Text("整数で書いてください", "must be a whole number"),
    "string_type": Text("文字列で書いてください", "must be text"),
    "bool_type": Text("true か false で書いてください", "must be true or false"),
    "list_type": Text("一覧（[…]）で書いてください", "must be a list"),
    "dict_type": Text("項目の組（{{…}}）で書いてください", "must be an object"),
    "model_type": Text("項目の組（{{…}}）で書いてください", "must be an object"),
    "literal_error": Text("{expected} のどれかです", "must be {expected}"),
    "greater_than_equal": Text("{ge} 以上で書いてください", "must be at least {ge}"),
    "less_than_equal": Text("{le} 以下で書いてください", "must be at most {le}"),
    "string_too_short": Text("{min_length}文字以上で書いてください", "must have {min_length} character(s) at least"),
    "string_too_long": Text("{max_length}文字以内で書いてください", "must have {max_length} characters at most"),
    "too_short": Text("{min_length}件以上必要です", "must have {min_length} item(s) at least"),
    "too_long": Text("{max_length}件までです", "must have {max_length} items at most"),
}


def misfits(error: ValidationError) -> Text:
    """The first faults, each once."""
    faults = error.errors(include_url=False, include_input=False)
    told = list(dict.fromkeys(_told(fault) for fault in faults if fault["type"] != "none_required"))[:MAX_FAULTS]
    return Text("、".join(fault.ja for fault in told), "; ".join(fault.en for fault in told))


def _told(fault: Mapping[str, Any]) -> Text:
    place, said = _place(fault["loc"]), _said(fault)
    return said if not place else Text(f"{place}: {said.ja}", f"{place}: {said.en}")


def _place(parts: Sequence[int | str]) -> str:
    named = [part for part in parts if isinstance(part, int) or not _BRANCH.fullmatch(part)]
    return ".".join(shown(str(part), 40) for part in named)


def _said(fault: Mapping[str, Any]) -> Text:
    context: Mapping[str, Any] = fault.get("ctx", {})
    if fault["type"] == MISFIT:
        return Text(context["ja"], context["en"])
    said = _SAID.get(fault["type"])
    if said is None:
        return Text(f"この値は使えません（{fault['type']}）", str(fault["msg"]))
    return Text(said.ja.format(**context), said.en.format(**context))
