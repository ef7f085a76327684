"""What a model can call: rows of ToolSpec, one file per trade word, in the order a model sees them."""

from __future__ import annotations

from seikyu.spec import Tool
from seikyu_tools import actions, connections, credit, customers, documents, transactions

TOOLS: tuple[Tool, ...] = (
    *connections.TOOLS,
    *customers.TOOLS,
    *credit.TOOLS,
    *transactions.TOOLS,
    *documents.TOOLS,
    *actions.TOOLS,
)
