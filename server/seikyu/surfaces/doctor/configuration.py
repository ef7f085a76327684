"""The operator's files and variables: whether each can be read, and whether anything in them is never read."""

from __future__ import annotations

import difflib
import os
import stat
from typing import Final

from seikyu.errors import ConfigurationError, Text
from seikyu.surfaces.doctor.findings import Finding, Findings, failed, fault, note, ok, warning
from seikyu.surfaces.doctor.patient import Patient
from seikyu.surfaces.doctor.reading import Reading

_SECRET: Final = ("SEIKYU_MASTER_KEY=", "SEIKYU_DATABASE_URL=")


def look_at_configuration(patient: Patient) -> Findings:
    """The folder, `.env` with its variables, and `connections.toml`."""
    reading, folder = patient.reading, patient.settings.config
    if not folder.is_dir():
        yield note(
            "configuration.folder",
            Text(f"設定フォルダー {folder} がありません。", f"There is no configuration folder {folder}."),
            Text(
                "policy.toml と connections.toml を置くか、SEIKYU_CONFIG で場所を指定してください。",
                "Put policy.toml and connections.toml there, or name another folder in SEIKYU_CONFIG.",
            ),
        )
    for name, error in reading.files.items():
        yield failed(f"configuration.{_word(name)}", error, about=name)
    yield from _variables(reading)
    yield from _exposed(patient)
    if "connections.toml" not in reading.files:
        yield _connections(patient)


def _word(name: str) -> str:
    return {".env": "env", "connections.toml": "connections"}[name]


def _variables(reading: Reading) -> Findings:
    for name, error in reading.variables.items():
        yield failed("configuration.variables", error, about=name)
    for name in reading.unknown:
        like = difflib.get_close_matches(name, sorted(reading.known), n=1)
        meant = Text(f"{like[0]} のことですか。", f"Did you mean {like[0]}?") if like else Text("", "")
        yield warning(
            "configuration.variables",
            Text(f"{name} という変数はなく、効果がありません。", f"There is no variable {name}; it has no effect."),
            meant + Text("名前を直すか、消してください。", "Mend its name or take it out."),
            about=name,
        )
    yield from _relative(reading)
    if not reading.variables and not reading.unknown and ".env" not in reading.files:
        yield ok("configuration.variables", Text("変数はすべて読めます。", "Every variable can be read."))


def _relative(reading: Reading) -> Findings:
    """A client starts its servers wherever it likes: each place would get an installation of its own."""
    for name, path in (("SEIKYU_HOME", reading.settings.home), ("SEIKYU_CONFIG", reading.settings.config)):
        if not path.is_absolute() and name not in reading.variables:
            yield fault(
                "configuration.variables",
                Text(
                    f"{name} が相対パスです。起動した場所ごとに別のフォルダーになります。",
                    f"{name} is not a whole path: started from elsewhere, Seikyu uses another folder.",
                ),
                Text(f"`{path.absolute()}` のように書いてください。", f"Write it as `{path.absolute()}`."),
                about=name,
            )


def _exposed(patient: Patient) -> Findings:
    """Who else can read the secrets in `.env`; the variable's value is never looked at."""
    file = patient.settings.config / ".env"
    try:
        mode, source = stat.S_IMODE(file.stat().st_mode), file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    has_secret = any(line.strip().removeprefix("export ").startswith(_SECRET) for line in source.splitlines())
    if has_secret and os.name == "posix" and mode & 0o077:
        yield fault(
            "configuration.env",
            Text(
                f"{file} には秘密があり、他の利用者も読めます（{mode:04o}）。",
                f"{file} holds a secret, and others can read it ({mode:04o}).",
            ),
            Text(f"`chmod 600 {file}` を実行してください。", f"Run `chmod 600 {file}`."),
        )


def _connections(patient: Patient) -> Finding:
    file, count = patient.settings.config / "connections.toml", len(patient.settings.connections)
    if count:
        return ok(
            "configuration.connections",
            Text(f"connections.toml に接続が{count}件あります。", f"connections.toml names {count} connection(s)."),
        )
    return note(
        "configuration.connections",
        Text(f"{file} に接続がありません。", f"There are no connections in {file}."),
        Text("使う会社を書いてください。", "Write the accounts you use into it."),
    )


def look_at_policy(patient: Patient) -> Findings:
    """Whether a server would start with it, and whether it could write then."""
    settings = patient.settings
    if settings.is_read_only:
        yield note(
            "policy.writes",
            Text("SEIKYU_READ_ONLY により何も書き込めません。", "SEIKYU_READ_ONLY is set: nothing can be written."),
            Text("書き込むには外してください。", "Take it out to let writes be proposed."),
        )
    if not settings.policy_file.exists():
        yield warning(
            "policy.rules",
            Text(
                f"方針 {settings.policy_file} がないため、サーバーは読み取り専用で動きます。",
                f"There is no policy {settings.policy_file}: a server starts read-only.",
            ),
            Text("policy.toml を置いてください。", "Put a policy.toml there."),
        )
        return
    try:
        policy = patient.book.current()
    except ConfigurationError as error:
        yield failed("policy.rules", error)
        return
    count, examples = sum(1 for _ in policy.file.placed), len(policy.file.example)
    yield ok(
        "policy.rules",
        Text(f"規則{count}件、例{examples}件がすべて成り立ちます。", f"{count} rules, {examples} examples: all hold."),
    )
