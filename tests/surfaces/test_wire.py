import importlib
import json
from collections.abc import Callable
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model

from seikyu.models import ExactDecimal, IsoDate, Yen
from seikyu.spec import ActionView, Command, Effect, PreviewView, Result, Tool, ToolAnswer, ToolSpec
from seikyu.surfaces.mcp.wire import call_result, input_schema, mcp_tool, output_schema
from surfaces.fakes import LOOK_UP, Found, LookUp


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Line(Command):
    """A line of an invoice."""

    title: str
    quantity: ExactDecimal = Field(description="Exact,\n   never a float.")
    colour: Colour | None = None


class Order(Command):
    """Order   something.

    In two paragraphs.
    """

    title: str = Field(description="Named like the keyword that is dropped.")
    default: str | None = Field(default=None, description="Named like the other one.")
    amount: Yen
    due: IsoDate | None = None
    kind: Literal["a", "b"] | None = None
    only: Literal["x"] | None = None
    colour: Colour = Colour.RED
    second: Line | None = None
    lines: list[Line] = Field(min_length=1)
    notes: Annotated[str, Field(pattern="^[a-z]+$")] | None = None
    mixed: int | str | None = None


class Leaf(Result):
    """Prose that a model does not need twice."""

    title: str | None
    when: date | None


class Tree(Result):
    once: Leaf | None
    colour: Colour | None = None
    maybe: dict[str, int | None] | None = Field(default=None, description="Prose.")
    items: list[Leaf | None]


class Node(Result):
    name: str
    children: list["Node"]


def judge(schema: dict[str, Any]) -> Callable[[Any], bool]:
    """Tell valid values from others; `schema` itself must be JSON Schema 2020-12."""
    validator: Any = importlib.import_module("jsonschema").Draft202012Validator  # comes without types
    validator.check_schema(schema)
    is_valid: Callable[[Any], bool] = validator(schema).is_valid
    return is_valid


def compacted(command: type[BaseModel]) -> dict[str, Any]:
    return input_schema(command.model_json_schema(mode="validation"))


def published(result: type[BaseModel]) -> dict[str, Any]:
    return output_schema(result.model_json_schema(mode="serialization"))


def a_tool(name: str, effect: Effect, *, with_provider: bool = True) -> Tool:
    return ToolSpec(
        name=name,
        title="題",
        effect=effect,
        command=LookUp,
        result=Found,
        toolset="test",
        provider="misoca" if with_provider else None,
    )


def test_a_row_becomes_a_tool_of_the_fewest_words() -> None:
    tool = mcp_tool(LOOK_UP)

    assert tool.model_dump(by_alias=True, exclude_none=True) == {
        "name": "lookup_customer",
        "title": "取引先を検索",
        "description": "Find a customer by name. Use register_invoice to write.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "Part of the customer's name.", "minLength": 1},
                "limit": {"type": ["integer", "null"], "maximum": 50, "minimum": 1},
            },
            "required": ["name"],
            "additionalProperties": False,
        },
        "outputSchema": {
            "type": "object",
            "properties": {
                "name": {"type": ["string", "null"]},
                "tags": {"type": "array", "items": {"type": ["string", "null"]}},
                "count": {"type": "integer"},
            },
        },
        "annotations": {"readOnlyHint": True, "openWorldHint": True},
    }


def test_properties_named_like_a_dropped_keyword_stay() -> None:
    properties = compacted(Order)["properties"]

    assert properties["title"] == {
        "type": "string",
        "description": "Named like the keyword that is dropped.",
    }
    assert properties["default"] == {"type": ["string", "null"], "description": "Named like the other one."}


def test_an_optional_choice_takes_null_and_nothing_else_new() -> None:
    properties = compacted(Order)["properties"]

    assert properties["kind"] == {"type": ["string", "null"], "enum": ["a", "b", None]}
    assert properties["only"] == {"type": ["string", "null"], "enum": ["x", None]}
    assert properties["mixed"] == {"type": ["integer", "string", "null"]}
    assert properties["due"] == {"type": ["string", "null"], "format": "date"}


def test_a_definition_used_twice_stays_a_definition() -> None:
    schema = compacted(Order)

    assert schema["properties"]["second"] == {"anyOf": [{"$ref": "#/$defs/Line"}, {"type": "null"}]}
    assert schema["properties"]["lines"]["items"] == {"$ref": "#/$defs/Line"}
    assert set(schema["$defs"]) == {"Colour", "Line"}


def test_a_definition_used_once_is_put_in_its_place() -> None:
    class Single(Result):
        leaf: Leaf | None

    assert published(Single) == {
        "type": "object",
        "properties": {
            "leaf": {
                "type": ["object", "null"],
                "properties": {
                    "title": {"type": ["string", "null"]},
                    "when": {"type": ["string", "null"], "format": "date"},
                },
            }
        },
    }


def test_a_model_that_holds_itself_has_an_object_at_its_root() -> None:
    schema = published(Node)

    assert schema["type"] == "object"
    fits = judge(schema)
    assert fits({"name": "a", "children": [{"name": "b", "children": []}]})
    assert not fits({"name": "a", "children": [{"name": 1, "children": []}]})


def test_nulls_of_a_result_fit_what_is_published() -> None:
    fits = judge(published(Tree))
    empty = Tree(once=None, items=[None, Leaf(title=None, when=None)], maybe={"a": None})
    full = Tree(once=Leaf(title="x", when=date(2026, 11, 21)), items=[], maybe=None, colour=Colour.BLUE)

    assert fits(empty.model_dump(mode="json"))
    assert fits(full.model_dump(mode="json"))


def test_what_a_result_cannot_be_does_not_fit() -> None:
    fits = judge(published(Tree))
    good = Tree(once=None, items=[]).model_dump(mode="json")

    assert not fits(good | {"colour": "green"})
    assert not fits(good | {"once": {"title": 1, "when": None}})
    assert not fits(good | {"items": None})


@pytest.mark.parametrize("change", [{"extra": 1}, {"lines": [{"title": "t", "quantity": "1", "x": 1}]}])
def test_unknown_arguments_do_not_fit_at_any_depth(change: dict[str, Any]) -> None:
    good: dict[str, Any] = {"title": "t", "amount": 1, "lines": [{"title": "t", "quantity": "1"}]}
    fits = judge(compacted(Order))

    assert fits(good)
    assert not fits(good | change)


def test_a_command_without_arguments_still_refuses_unknown_ones() -> None:
    class Nothing(Command):
        """Take nothing."""

    assert compacted(Nothing) == {"type": "object", "properties": {}, "additionalProperties": False}


@pytest.mark.parametrize("view", [ActionView, PreviewView])
def test_our_own_views_lose_prose_and_keep_their_meaning(view: type[Result]) -> None:
    schema = published(view)
    text = json.dumps(schema)

    judge(schema)
    assert "title" not in text
    assert "description" not in text
    assert "additionalProperties" not in text
    assert set(schema["properties"]) == set(view.model_fields)


def test_equal_rows_are_equal_bytes() -> None:
    assert mcp_tool(LOOK_UP).model_dump_json() == mcp_tool(LOOK_UP).model_dump_json()
    assert list(compacted(Order)) == ["type", "properties", "required", "$defs", "additionalProperties"]


def test_a_command_without_a_docstring_is_refused() -> None:
    class Mute(Command):
        name: str

    row: Tool = ToolSpec(name="mute", title="題", effect=Effect.READ, command=Mute, result=Found, toolset="test")

    with pytest.raises(TypeError, match="mute: the command Mute has no docstring"):
        mcp_tool(row)


READ_ONLY = {"readOnlyHint": True, "openWorldHint": True}
WRITING = {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": True, "openWorldHint": True}


@pytest.mark.parametrize(
    "row,hints",
    [
        (a_tool("get_bill", Effect.READ), READ_ONLY),
        (a_tool("list_actions", Effect.READ, with_provider=False), READ_ONLY | {"openWorldHint": False}),
        (a_tool("cancel_preview", Effect.PREVIEW), READ_ONLY),
        (a_tool("register_bill", Effect.WRITE), WRITING),
        (a_tool("cancel_bill", Effect.WRITE), WRITING | {"destructiveHint": True}),
        (
            a_tool("withdraw_action", Effect.LOCAL, with_provider=False),
            WRITING | {"destructiveHint": True, "openWorldHint": False},
        ),
        (a_tool("revise_action", Effect.LOCAL, with_provider=False), WRITING | {"destructiveHint": True}),
    ],
)
def test_hints_say_honestly_what_a_tool_does(row: Tool, hints: dict[str, bool]) -> None:
    annotations = mcp_tool(row).annotations

    assert annotations is not None
    assert annotations.model_dump(by_alias=True, exclude_none=True) == hints


def test_an_answer_is_one_sentence_and_its_data() -> None:
    result = call_result(ToolAnswer({"a": None}, "Found."))

    assert result.model_dump(by_alias=True, mode="json", exclude_none=True) == {
        "content": [{"type": "text", "text": "Found."}],
        "structuredContent": {"a": None},
        "isError": False,
        "resultType": "complete",
    }


def test_an_error_carries_its_code_beside_the_sentence() -> None:
    result = call_result(ToolAnswer(None, "No such customer.", is_error=True, code="not_found"))

    assert result.model_dump(by_alias=True, mode="json", exclude_none=True) == {
        "content": [{"type": "text", "text": "No such customer."}],
        "isError": True,
        "resultType": "complete",
        "_meta": {"seikyu/error": {"code": "not_found"}},
    }


def _types(depth: int) -> st.SearchStrategy[Any]:
    """Annotations our models use: scalars, choices, decimals, dates, models, lists and maps of them, optional."""
    leaves: list[Any] = [
        int,
        str,
        bool,
        Colour,
        Leaf,
        Line,
        IsoDate,
        ExactDecimal,
        Yen,
        Literal["a", "b"],
        Literal[1],
    ]
    leaf = st.sampled_from(leaves)
    if depth == 0:
        return leaf
    inner = _types(depth - 1)
    return st.one_of(
        leaf,
        inner.map(lambda kind: kind | None),
        inner.map(lambda kind: list[kind]),  # type: ignore[valid-type]
        inner.map(lambda kind: dict[str, kind]),  # type: ignore[valid-type]
    )


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 3),
        st.sampled_from(["a", "b", "red", "1.50", "2026-11-21", ""]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from(["title", "when", "quantity", "colour", "x"]), inner, max_size=3),
    ),
    max_leaves=6,
)
MODELS = st.lists(_types(3), min_size=1, max_size=3).map(
    lambda kinds: create_model(
        "Made", __base__=Command, __doc__="Made.", **{f"f{i}": kind for i, kind in enumerate(kinds)}
    )
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(model=MODELS, data=st.data())
def test_a_compacted_schema_judges_every_value_as_pydantics_own_does(
    model: type[BaseModel], data: st.DataObject
) -> None:
    """The models here forbid unknown names at every depth, so compaction may not change a single verdict."""
    before = judge(model.model_json_schema(mode="validation"))
    after = judge(compacted(model))

    for _ in range(20):
        value = {name: data.draw(VALUES) for name in model.model_fields}
        assert after(value) == before(value)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(model=MODELS, data=st.data())
def test_a_published_schema_refuses_nothing_that_pydantics_own_accepts(
    model: type[BaseModel], data: st.DataObject
) -> None:
    before = judge(model.model_json_schema(mode="serialization"))
    after = judge(published(model))

    for _ in range(20):
        value = {name: data.draw(VALUES) for name in model.model_fields}
        assert after(value) or not before(value)
