"""From our words to the wire: a row of `ToolSpec` as an MCP tool, an answer as a result.

The schemas are what pydantic says, in fewer tokens. An input schema keeps its meaning to the letter; an output
schema only gets wider (it loses `required` and `additionalProperties`), so that what fits our result always fits
what we published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, TypeAlias, cast

from mcp_types import CallToolResult, TextContent, ToolAnnotations
from mcp_types import Tool as McpTool

from seikyu.spec import Effect, Tool, ToolAnswer

Schema: TypeAlias = dict[str, Any]
Rule: TypeAlias = Callable[[Schema], Schema]

ERROR_META: Final = "seikyu/error"
"""Key of a result's `_meta` under which an error's `code` stands."""

_PLANS_ANEW: Final = frozenset({"revise_action"})
"""Tools of no provider that let another tool of any provider plan, and so read there."""

_DEFS: Final = "#/$defs/"
_NULL: Final[Schema] = {"type": "null"}

_ORDER: Final = ("type", "description", "enum", "const", "default", "properties", "required", "items", "$ref")
_DROPPED: Final = frozenset({"title", "discriminator"})  # the second is OpenAPI's, and points into $defs
_DROPPED_FROM_OUTPUTS: Final = frozenset({"description", "examples", "required"})
"""We always send every field; saying so again costs a ninth of all tokens of the list."""

_NAMED: Final = ("properties", "patternProperties", "$defs", "dependentSchemas")
_LISTED: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE: Final = (
    "additionalProperties",
    "items",
    "contains",
    "not",
    "if",
    "then",
    "else",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
)

_JUDGES_NULL_TOO: Final = frozenset({"$ref", "const", "not", "anyOf", "oneOf", "allOf", "if", "then", "else"})
"""Keywords that judge a null as well; the others speak of one type only, and `enum` gets the null added."""

_ANNOTATIONS: Final = frozenset({"description", "default", "examples", "deprecated", "readOnly", "writeOnly", "title"})


def mcp_tool(tool: Tool) -> McpTool:
    """The tool as `tools/list` shows it.

    Raises:
        TypeError: the command has no docstring, so a model would not know what the tool is for.
    """
    if not tool.command.__doc__:
        raise TypeError(f"{tool.name}: the command {tool.command.__name__} has no docstring")
    return McpTool(
        name=tool.name,
        title=tool.title,
        description=_one_paragraph(tool.command.__doc__),
        input_schema=input_schema(tool.command.model_json_schema(mode="validation")),
        output_schema=output_schema(tool.result.model_json_schema(mode="serialization")),
        annotations=_annotations(tool),
    )


def call_result(answer: ToolAnswer) -> CallToolResult:
    """One sentence for the model, the typed data beside it, and an error's code in `_meta`."""
    result = CallToolResult(
        content=[TextContent(type="text", text=answer.text)],
        structured_content=None if answer.structured is None else dict(answer.structured),
        is_error=answer.is_error,
    )
    if answer.is_error:
        result.meta = {ERROR_META: {"code": answer.code or "error"}}
    return result


def _annotations(tool: Tool) -> ToolAnnotations:
    """Honest hints. A write is idempotent because the same call answers with the same action.

    What takes back or replaces is destructive, also where it is only a request that is taken back.
    """
    reaches_out = tool.provider is not None or tool.name in _PLANS_ANEW
    if tool.effect in (Effect.READ, Effect.PREVIEW):
        return ToolAnnotations(read_only_hint=True, open_world_hint=reaches_out)
    return ToolAnnotations(
        read_only_hint=False,
        destructive_hint=tool.effect is Effect.LOCAL or tool.name.startswith("cancel_"),
        idempotent_hint=True,
        open_world_hint=reaches_out,
    )


def input_schema(schema: Schema) -> Schema:
    """The schema of a tool's arguments; the root's description is the tool's own and left out."""
    small = _compacted(schema, _input_rules)
    small.pop("description", None)
    return _in_order({"type": "object", "properties": {}, **small, "additionalProperties": False})


def output_schema(schema: Schema) -> Schema:
    """The schema of a tool's `structuredContent`: shapes without prose, open to new fields."""
    return _in_order({"type": "object", **_compacted(schema, _output_rules)})


def _compacted(schema: Schema, rules: Rule) -> Schema:
    return _rewritten(_inlined(_rooted(_rewritten(schema, rules))), _folded)


def _input_rules(schema: Schema) -> Schema:
    """No titles, no null defaults; an object with named properties takes no others."""
    kept = _trimmed(schema, _DROPPED)
    if "properties" in kept:
        kept.setdefault("additionalProperties", False)
    return kept


def _output_rules(schema: Schema) -> Schema:
    """No titles, prose, null defaults, nor what says that every field is there and no other."""
    kept = _trimmed(schema, _DROPPED | _DROPPED_FROM_OUTPUTS)
    if isinstance(kept.get("additionalProperties"), bool):
        del kept["additionalProperties"]
    return kept


def _trimmed(schema: Schema, dropped: frozenset[str]) -> Schema:
    kept = {key: value for key, value in schema.items() if key not in dropped}
    if kept.get("default", ...) is None:
        del kept["default"]
    if isinstance(text := kept.get("description"), str):
        kept["description"] = _one_paragraph(text)
    return kept


def _rooted(schema: Schema) -> Schema:
    """A model that holds itself is only a reference at the root; MCP wants to see an object there."""
    if "$ref" not in schema:
        return schema
    target: Schema = schema["$defs"][_definition(schema["$ref"])]
    return target | {key: value for key, value in schema.items() if key != "$ref"}


def _inlined(schema: Schema) -> Schema:
    """Put every definition that is referred to once in the place of its reference."""
    while name := _used_once(schema):
        definitions: dict[str, Schema] = dict(schema["$defs"])
        target = definitions.pop(name)
        rest = {key: value for key, value in schema.items() if key != "$defs"}
        document = rest | {"$defs": definitions} if definitions else rest
        schema = _rewritten(document, partial(_replaced, reference=_DEFS + name, target=target))
    return schema


def _used_once(schema: Schema) -> str | None:
    uses = Counter(_references(schema))
    return next((name for name in schema.get("$defs", ()) if uses[_DEFS + name] == 1), None)


def _replaced(schema: Schema, *, reference: str, target: Schema) -> Schema:
    """`schema` with its reference resolved; words beside the reference win over the definition's own."""
    if schema.get("$ref") != reference:
        return schema
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    if beside.keys() & target.keys() <= _ANNOTATIONS:
        return target | beside
    return beside | {"allOf": [*beside.get("allOf", ()), target]}


def _folded(schema: Schema) -> Schema:
    """`anyOf: [X, null]` as `type: [x, "null"]`, and bare types as one list, where that says the same."""
    arms: list[Schema] = schema.get("anyOf", [])
    beside = {key: value for key, value in schema.items() if key != "anyOf"}
    if len(arms) > 1 and all(arm.keys() == {"type"} for arm in arms):
        types = [one for arm in arms for one in _types(arm)]
        return beside | {"type": list(dict.fromkeys(types))} if "type" not in beside else schema
    others = [arm for arm in arms if arm != _NULL]
    if len(arms) == 2 and len(others) == 1:  # noqa: PLR2004
        return _or_null(others[0], beside) or schema
    return schema


def _or_null(arm: Schema, beside: Schema) -> Schema | None:
    """`arm` that takes a null too; None where that cannot be said in one schema."""
    if "const" in arm and "enum" not in arm:
        arm = {key: value for key, value in arm.items() if key != "const"} | {"enum": [arm["const"]]}
    clash = (arm.keys() & beside.keys()) - _ANNOTATIONS
    if "type" not in arm or clash or arm.keys() & _JUDGES_NULL_TOO:
        return None
    if "enum" in arm:
        arm = arm | {"enum": [*arm["enum"], None]}
    return arm | beside | {"type": [*_types(arm), "null"]}


def _types(schema: Schema) -> list[str]:
    named: str | list[str] = schema["type"]
    return [named] if isinstance(named, str) else named


def _definition(reference: str) -> str:
    return reference.removeprefix(_DEFS)


def _references(schema: Schema) -> Iterator[str]:
    """Every `$ref` of the document."""
    if "$ref" in schema:
        yield schema["$ref"]
    for part in _parts(schema):
        yield from _references(part)


def _parts(schema: Schema) -> Iterator[Schema]:
    """The schemas directly inside `schema`. Values (`enum`, `default`, `examples`) are not schemas."""
    for key, value in schema.items():
        if key in _NAMED:
            yield from value.values()
        elif key in _LISTED:
            yield from value
        elif key in _SINGLE and isinstance(value, dict):
            yield cast("Schema", value)


def _rewritten(schema: Schema, rule: Rule) -> Schema:
    """Apply `rule` to every schema of the document, innermost first."""
    return rule({key: _rewritten_part(key, value, rule) for key, value in schema.items()})


def _rewritten_part(key: str, value: Any, rule: Rule) -> Any:  # noqa: ANN401 — JSON Schema is data
    if key in _NAMED:
        return {name: _rewritten(part, rule) for name, part in value.items()}
    if key in _LISTED:
        return [_rewritten(part, rule) for part in value]
    if key in _SINGLE and isinstance(value, dict):
        return _rewritten(cast("Schema", value), rule)
    return value  # pyright: ignore[reportUnknownVariableType]


def _in_order(schema: Schema) -> Schema:
    """Keywords in one order, so that equal tools are equal bytes; properties stay as declared."""
    return _rewritten(schema, lambda part: dict(sorted(part.items(), key=_rank)))


def _rank(keyword: tuple[str, Any]) -> tuple[int, str]:
    name = keyword[0]
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)


def _one_paragraph(text: str) -> str:
    return " ".join(text.split())
