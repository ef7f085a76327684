"""Options that many commands have, with one wording."""

from __future__ import annotations

from typing import Final

import click

AS_JSON: Final = click.option("--json", "as_json", is_flag=True, help="プログラム用の JSON / JSON, for programs")
REASON: Final = click.option("--reason", default="", help="理由。記録に残ります / why; kept in the record")
REASON_NEEDED: Final = click.option("--reason", required=True, help="理由。記録に残ります / why; kept in the record")
