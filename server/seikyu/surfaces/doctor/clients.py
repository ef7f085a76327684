"""The clients that start Seikyu: whether the entry in their configuration starts this one. Never what else is there.

Places: Claude Desktop and Claude Code, "Connect to local MCP servers" and "MCP installation scopes"; Cursor, "Model
Context Protocol"; VS Code, "Use MCP servers", read 2026-11-21. Claude Desktop on Linux is not documented.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Final, cast

from seikyu.errors import Text
from seikyu.surfaces.doctor.findings import Finding, Findings, fault, note, ok, warning
from seikyu.surfaces.doctor.patient import Patient

MOST_BYTES: Final = 20_000_000
"""Claude Code keeps its history in the same file."""
# what is not closed ends with the file: each character is read once, whoever wrote the file
_COMMENTS: Final = re.compile(r'("(?:\\.|[^"\\])*+"?)|//[^\n]*|/\*.*?(?:\*/|\Z)', re.DOTALL)
_LAST_COMMAS: Final = re.compile(r'("(?:\\.|[^"\\])*+"?)|,(?=\s*[}\]])', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Client:
    """One file of one client."""

    name: str
    file: Path


def places(environ: Mapping[str, str], platform: str, here: Path) -> list[Client]:
    """Where clients keep their servers, for this user and for the folder `here`."""
    home = Path(environ.get("USERPROFILE" if platform == "win32" else "HOME") or _expanded("~"))
    roaming = {
        "darwin": home / "Library" / "Application Support",
        "win32": Path(environ.get("APPDATA") or home / "AppData" / "Roaming"),
    }.get(platform, Path(environ.get("XDG_CONFIG_HOME") or home / ".config"))
    claude_code = Path(environ["CLAUDE_CONFIG_DIR"]) if environ.get("CLAUDE_CONFIG_DIR") else home
    return [
        Client("Claude Desktop", roaming / "Claude" / "claude_desktop_config.json"),
        Client("Claude Code", claude_code / ".claude.json"),
        Client("Claude Code", here / ".mcp.json"),
        Client("Cursor", home / ".cursor" / "mcp.json"),
        Client("Cursor", here / ".cursor" / "mcp.json"),
        Client("VS Code", roaming / "Code" / "User" / "mcp.json"),
        Client("VS Code", here / ".vscode" / "mcp.json"),
    ]


def look_at_clients(patient: Patient) -> Findings:
    """Each file that is there."""
    found = False
    for client in dict.fromkeys(places(patient.environ, sys.platform, _here())):
        for finding in _client(client, patient):
            found = True
            yield finding
    if not found:
        yield note(
            "clients.entry",
            Text("Seikyu を起動するクライアントの設定は見つかりません。", "No client's configuration starts Seikyu."),
            Text("README の「クライアントをつなぐ」を見てください。", 'See "Connect a client" in the README.'),
        )


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError:  # it was deleted under us
        return Path(_expanded("~"))


def _client(client: Client, patient: Patient) -> Findings:
    try:
        entries = list(_entries(_read(client.file))) if client.file.is_file() else []
    except (OSError, ValueError, RecursionError) as error:
        yield _unreadable(client, error)
        return
    for entry in entries:
        if _is_ours(*entry):
            yield _entry(client, entry[1], patient)


def _unreadable(client: Client, error: Exception) -> Finding:
    reason = type(error).__name__  # its words may quote what was read
    return warning(
        "clients.entry",
        Text(
            f"{client.name} の設定 {client.file} を読めません（{reason}）。",
            f"The configuration of {client.name}, {client.file}, cannot be read ({reason}).",
        ),
        _step(error),
        about=client.name,
    )


def _step(error: Exception) -> Text:
    match error:
        case OSError():
            return Text("所有者と権限を確かめてください。", "Check its owner and its permissions.")
        case TooLarge():
            return Text(
                "大きすぎるため、自分で確かめてください。", "It is too large to be looked at here; see for yourself."
            )
        case _:
            return Text("JSON を直してください。", "Mend its JSON.")


class TooLarge(ValueError):
    """More than `MOST_BYTES`."""


def _read(file: Path) -> object:
    """JSON, with the comments and last commas VS Code takes. Raises `OSError` and `ValueError`."""
    with file.open("rb") as source:
        read = source.read(MOST_BYTES + 1)
    if len(read) > MOST_BYTES:
        raise TooLarge
    text = read.decode("utf-8-sig")
    try:
        return json.loads(text)
    except ValueError:
        bare = _COMMENTS.sub(lambda found: found[1] or "", text)
        return json.loads(_LAST_COMMAS.sub(lambda found: found[1] or "", bare))


def _entries(value: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every server by its name: of the user, and of the projects Claude Code keeps in the same file."""
    for key in ("mcpServers", "servers"):
        for name, entry in _table(_table(value).get(key)).items():
            yield name, _table(entry)
    for project in _table(_table(value).get("projects")).values():
        for name, entry in _table(_table(project).get("mcpServers")).items():
            yield name, _table(entry)


def _table(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _words(entry: Mapping[str, Any]) -> list[str]:
    """The command and its arguments."""
    given: object = entry.get("args")
    args = cast("list[object]", given) if isinstance(given, list) else []
    return [word for word in (entry.get("command"), *args) if isinstance(word, str)]


def _is_ours(name: str, entry: Mapping[str, Any]) -> bool:
    words = [PurePath(word.replace("\\", "/")).stem.lower() for word in _words(entry)]
    return "seikyu" in name.lower() or "seikyu" in words


def _entry(client: Client, entry: Mapping[str, Any], patient: Patient) -> Finding:
    name = client.name
    if _table(entry.get("env")).get("SEIKYU_MASTER_KEY"):
        return fault(
            "clients.entry",
            Text(
                f"{name} の設定 {client.file} にマスターキーが書かれています。",
                f"The configuration of {name}, {client.file}, holds a master key.",
            ),
            Text(
                "消して、鍵ファイルか OS のキーリングに置いてください。",
                "Take it out; keep it in the key file or the OS keyring.",
            ),
            about=name,
        )
    if "url" in entry or "command" not in entry:
        said = Text(f"{name} は HTTP で Seikyu につながります。", f"{name} speaks to Seikyu over HTTP.")
        return ok("clients.entry", said, about=name)
    return _command(client, _words(entry)) or _house(client, entry, patient)


def _command(client: Client, words: list[str]) -> Finding | None:
    """What is wrong with the command; None when it starts this installation."""
    name, file = client.name, client.file
    command = words[0] if words else ""
    if not Path(command).is_absolute():
        return warning(
            "clients.entry",
            Text(
                f"{name} の設定 {file} の command が絶対パスではありません。",
                f"The command in {file} ({name}) is not a whole path, and clients do not know your PATH.",
            ),
            _whole_path(),
            about=name,
        )
    if shutil.which(command) is None:
        return fault(
            "clients.entry",
            Text(
                f"{name} の設定 {file} の command がないか、実行できません。",
                f"The command in {file} ({name}) does not exist, or cannot be run.",
            ),
            _whole_path(),
            about=name,
        )
    if not _is_this(Path(command)):
        return note(
            "clients.entry",
            Text(
                f"{name} の設定 {file} は、別の場所の Seikyu を起動します。",
                f"{file} ({name}) starts a Seikyu that is installed elsewhere.",
            ),
            Text("意図したものか確かめてください。", "See that this is meant."),
            about=name,
        )
    return None


def _whole_path() -> Text:
    ours = Path(sys.executable).with_name("seikyu")
    return Text(f"`{ours}` のように書いてください。", f"Write it as `{ours}`.")


def _is_this(command: Path) -> bool:
    """Whether the command, or what it is a link to, lies in the environment that runs us."""
    ours = Path(sys.executable).parent.resolve()
    return ours in {command.parent.resolve(), command.resolve().parent}


def _house(client: Client, entry: Mapping[str, Any], patient: Patient) -> Finding:
    """Whether it starts with the folders that were looked at."""
    given, settings, name = _table(entry.get("env")), patient.settings, client.name
    ours = {"SEIKYU_HOME": settings.home, "SEIKYU_CONFIG": settings.config}
    usual = {"SEIKYU_HOME": "~/.local/share/seikyu", "SEIKYU_CONFIG": "~/.config/seikyu"}
    others = [key for key, path in ours.items() if str(path) != _expanded(given.get(key) or usual[key])]
    if not others:
        said = Text(f"{name} はこの Seikyu を起動します。", f"{name} starts this Seikyu.")
        return ok("clients.entry", said, about=name)
    listed = ", ".join(others)
    return note(
        "clients.entry",
        Text(
            f"{name} の Seikyu は、ここで調べたものと違うフォルダーを使います（{listed}）。",
            f"{name} starts Seikyu with other folders than were looked at here ({listed}).",
        ),
        Text(
            f"その {listed} でも seikyu doctor を実行してください。",
            f"Run `seikyu doctor` with its {listed} too, if that is meant.",
        ),
        about=name,
    )


def _expanded(value: object) -> str:
    return str(Path(os.path.expanduser(str(value))))  # noqa: PTH111 - Path's own raises for a user nobody knows
