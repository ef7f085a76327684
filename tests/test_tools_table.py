"""The tools as data: one snapshot each, and what must hold for every row."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import bpe_openai
import pytest

from seikyu.providers.catalog import WRITE_OPERATIONS
from seikyu.spec import Effect, Tool
from seikyu.surfaces.cli.tool_list import tool_table
from seikyu.surfaces.mcp.wire import mcp_tool
from seikyu_tools import TOOLS

SNAPSHOTS = Path(__file__).with_name("toolsnaps")
ROOT = Path(__file__).parent.parent
MAX_TOKENS = 4000
MAX_TOOLS = 20

EVERY_TOOL = pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)


def wire(tool: Tool) -> dict[str, Any]:
    return mcp_tool(tool).model_dump(by_alias=True, mode="json", exclude_none=True)


@EVERY_TOOL
def test_what_a_model_reads_of_a_tool_changes_only_with_its_snapshot(tool: Tool) -> None:
    shown = json.dumps(wire(tool), ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    snapshot = SNAPSHOTS / f"{tool.name}.json"
    if os.environ.get("UPDATE_TOOLSNAPS"):
        snapshot.write_text(shown, encoding="utf-8")

    assert snapshot.read_text(encoding="utf-8") == shown


def test_every_snapshot_belongs_to_a_tool() -> None:
    assert {path.stem for path in SNAPSHOTS.iterdir()} == {tool.name for tool in TOOLS}


@EVERY_TOOL
def test_every_tool_has_what_its_effect_needs(tool: Tool) -> None:
    plans = tool.effect in {Effect.WRITE, Effect.PREVIEW}

    assert (tool.plan is not None, tool.run is not None) == (plans, not plans)
    assert (tool.provider is not None) or not plans


@EVERY_TOOL
def test_every_tool_refuses_unknown_names_and_publishes_sound_schemas(tool: Tool) -> None:
    shown = wire(tool)

    validator: Any = importlib.import_module("jsonschema").Draft202012Validator  # comes without types
    validator.check_schema(shown["inputSchema"])
    validator.check_schema(shown["outputSchema"])
    assert shown["inputSchema"]["additionalProperties"] is False
    assert tool.command.model_config.get("extra") == "forbid"
    assert tool.command.model_config.get("strict") is True
    assert shown["outputSchema"]["type"] == "object"


@EVERY_TOOL
def test_every_hint_is_honest(tool: Tool) -> None:
    hints = wire(tool)["annotations"]

    assert hints["readOnlyHint"] is (tool.effect in {Effect.READ, Effect.PREVIEW})
    assert any("\u3040" <= letter <= "\u9fff" for letter in tool.title)


def test_names_are_unique_and_the_default_list_is_small() -> None:
    o200k = bpe_openai.get_encoding("o200k_base")
    listed = json.dumps({"tools": [wire(tool) for tool in TOOLS]}, ensure_ascii=False, separators=(",", ":"))

    assert len({tool.name for tool in TOOLS}) == len(TOOLS) <= MAX_TOOLS
    assert len(o200k.encode(listed)) <= MAX_TOKENS


def test_every_write_of_every_provider_says_how_a_lost_answer_is_found_out() -> None:
    lost = {name: (row.outcome_class.value, row.look_up is not None) for name, row in WRITE_OPERATIONS.items()}

    assert lost == {
        "mfkessai.create_transaction": ("A", True),
        "mfkessai.cancel_transaction": ("A", True),
        "invox.register_e_storage_document": ("D", False),
    }


def test_the_table_in_the_readme_is_the_table_of_the_tools() -> None:
    for name in ("README.md", "README.ja.md"):
        assert tool_table(TOOLS) in (ROOT / name).read_text(encoding="utf-8"), "run `seikyu tools --markdown`"
