"""The environment and `.env`: where things are, and how the house behaves."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, get_args

from pydantic import SecretStr

from seikyu.errors import ConfigurationError, Lang, Text
from seikyu.settings.accounts import read_connections, read_slack
from seikyu.settings.values import (
    LEAST_YEARS,
    LOOPBACK_HOSTS,
    MAX_BATCH,
    MOST_YEARS,
    BatchCap,
    KeyPlaceName,
    Settings,
    Timing,
)

_PUBLIC_NAME: Final = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")


def _lang(value: str | None) -> Lang:
    chosen = (value or os.environ.get("LANG", "ja")).lower()
    return "en" if chosen.startswith("en") else "ja"


def _flag(name: str, env: Mapping[str, str]) -> bool:
    """Raises `ConfigurationError`: a word of which nobody knows whether it means yes; a guardrail is never guessed."""
    word = (env.get(name) or "").strip().lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"", "0", "false", "no", "off"}:
        return False
    raise ConfigurationError(
        Text(f"{name} は 1（有効）か 0（無効）で書いてください。", f"{name} must be 1, for yes, or 0, for no.")
    )


def _words(value: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (value or "").split(",") if word.strip())


def _user_name() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def read_environment(config: Path) -> dict[str, str]:
    """The variables of the process, and those of `.env` that it does not set. Raises `ConfigurationError`."""
    file = config / ".env"
    if not file.exists():
        return dict(os.environ)
    from dotenv import dotenv_values

    try:
        if file.is_dir():  # which would be taken for an empty file; a pipe is how some password managers hand it out
            raise IsADirectoryError
        given = dotenv_values(file)
    except (OSError, UnicodeDecodeError) as error:
        reason = type(error).__name__  # its words may hold what was read
        raise ConfigurationError(
            Text(f"{file} を読めません（{reason}）。", f"{file} cannot be read ({reason})."),
            Text("UTF-8 の普通のファイルにしてください。", "Make it a plain file in UTF-8 that you may read."),
        ) from None
    return {key: value for key, value in given.items() if value is not None} | dict(os.environ)


def _path(name: str, value: str | Path) -> Path:
    """Raises `ConfigurationError`: it begins with `~` or `~user`, and this machine does not know whose home that is."""
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise ConfigurationError(
            Text(
                f"{name} の「~」が誰のフォルダーか分かりません。", f"{name}: nobody here knows whose folder the ~ is."
            ),
            Text("/srv/seikyu のように絶対パスで書いてください。", "Write the whole path, such as /srv/seikyu."),
        ) from None


def _roots(value: str | None, home: Path) -> tuple[Path, ...]:
    given: Sequence[str] = [part for part in (value or "").split(os.pathsep) if part]
    return tuple(_path("SEIKYU_FILE_ROOTS", part) for part in given) or (home / "inbox",)


def _anchors(value: str | None, home: Path) -> Path | None:
    given = _path("SEIKYU_AUDIT_ANCHORS", value) if value else None
    if given is not None and given.name.startswith("seikyu.db") and given.parent.resolve() == home.resolve():
        # opened and closed beside SQLite, it would cost SQLite its locks
        raise ConfigurationError(
            Text("SEIKYU_AUDIT_ANCHORS がデータベースを指しています。", "SEIKYU_AUDIT_ANCHORS names the database."),
            Text("別のファイルを指定してください。", "Name another file, such as /var/log/seikyu/anchors.jsonl."),
        )
    return given


def _public_host(value: str | None) -> str | None:
    """`name:port` of a public name; a browser, Slack and MFK leave port 443 out."""
    if not value:
        return None
    name, _, port = value.strip().lower().partition(":")
    is_name = _PUBLIC_NAME.fullmatch(name) is not None and not re.fullmatch(r"[0-9.]+", name)
    is_port = not port or (port.isascii() and port.isdigit() and 0 < int(port) < 65536)  # noqa: PLR2004 - TCP ports
    if not is_name or not is_port or name in LOOPBACK_HOSTS:
        raise ConfigurationError(
            Text(
                "SEIKYU_PUBLIC_HOST は公開名（例: hooks.example.co.jp）だけを書いてください。",
                "SEIKYU_PUBLIC_HOST must be a public name alone, such as hooks.example.co.jp.",
            ),
            Text("https:// やパスは書きません。", "Leave out https:// and any path."),
        )
    return f"{name}:{port or 443}"


def _command(name: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """A program and its arguments, cut into words as a shell would; no shell ever sees them."""
    try:
        words = tuple(shlex.split(env.get(name) or ""))
    except ValueError:  # a quotation mark that is not closed
        words = ("",)
    if words and not words[0]:
        raise ConfigurationError(
            Text(f"{name} を読めません。", f"{name} cannot be read as a program and its arguments."),
            Text("引用符を確かめてください。", "Check its quotation marks, such as /opt/notify 'two words'."),
        )
    if words and _depends_on_folder(words[0]):
        raise ConfigurationError(
            Text(
                f"{name} が相対パスです。起動した場所ごとに別のプログラムになります。",
                f"{name} is not a whole path: started from elsewhere, Seikyu would run another program.",
            ),
            Text("/opt/notify のように絶対パスで書いてください。", "Write the whole path, such as /opt/notify."),
        )
    return words


def _depends_on_folder(program: str) -> bool:
    """Clients start servers in the folder of a project, where an agent writes. A bare name is found by PATH."""
    return bool(os.path.dirname(program)) and not os.path.isabs(program)  # noqa: PTH117, PTH120 - words, not a path


def _retention_years(env: Mapping[str, str]) -> int:
    """Fewer than the law's 10 years only when the operator says so twice."""
    given = (env.get("SEIKYU_RETENTION_YEARS") or str(LEAST_YEARS)).strip()
    years = int(given) if given.isascii() and given.isdigit() and len(given) <= len(str(MOST_YEARS)) else 0
    if not 1 <= years <= MOST_YEARS:
        raise ConfigurationError(
            Text(
                f"SEIKYU_RETENTION_YEARS は 1〜{MOST_YEARS} の整数（年）で書いてください。",
                f"SEIKYU_RETENTION_YEARS must be a whole number of years from 1 to {MOST_YEARS}, such as 10.",
            )
        )
    if years < LEAST_YEARS and not _flag("SEIKYU_RETENTION_SHORTER", env):
        raise ConfigurationError(
            Text(
                f"SEIKYU_RETENTION_YEARS={years} は会社法・電帳法の {LEAST_YEARS} 年より短い期間です。",
                f"SEIKYU_RETENTION_YEARS={years} is shorter than the {LEAST_YEARS} years that the law may ask for.",
            ),
            Text(
                "短くしてよいと確かめたら SEIKYU_RETENTION_SHORTER=yes も設定してください。",
                "Once you know that it may be, set SEIKYU_RETENTION_SHORTER=yes as well.",
            ),
        )
    return years


def _database_url(value: str | None) -> SecretStr | None:
    if not value:
        return None
    if not value.startswith("postgresql://"):
        # what was written is not repeated: it may hold a password
        raise ConfigurationError(
            Text(
                "SEIKYU_DATABASE_URL は postgresql:// で始めてください（SQLite には設定しません）。",
                "SEIKYU_DATABASE_URL must begin with postgresql:// (for SQLite, leave it out).",
            ),
        )
    return SecretStr(value)


def _master_key_source(value: str | None) -> KeyPlaceName | None:
    names: tuple[KeyPlaceName, ...] = get_args(KeyPlaceName)
    found: KeyPlaceName | None = next((name for name in names if name == value), None)
    if value and found is None:
        raise ConfigurationError(
            Text(
                f"SEIKYU_MASTER_KEY_SOURCE は {'、'.join(names)} のどれかです。",
                f"SEIKYU_MASTER_KEY_SOURCE must be one of {', '.join(names)}.",
            ),
        )
    return found


def default_config() -> Path:
    """`SEIKYU_CONFIG`, or the user's own configuration folder. Raises `ConfigurationError`."""
    return _path("SEIKYU_CONFIG", os.environ.get("SEIKYU_CONFIG") or "~/.config/seikyu")


def read_settings(config: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the environment (`environ` in the place of the process's own and of `.env`) and the configuration folder.

    Raises:
        ConfigurationError: a file or a variable is wrong.
    """
    folder = config or default_config()
    env = read_environment(folder) if environ is None else environ
    home = _path("SEIKYU_HOME", env.get("SEIKYU_HOME") or "~/.local/share/seikyu")
    key = env.get("SEIKYU_MASTER_KEY")
    return Settings(
        home=home,
        config=folder,
        requester=env.get("SEIKYU_REQUESTER") or _user_name(),
        lang=_lang(env.get("SEIKYU_LANG")),
        toolsets=_words(env.get("SEIKYU_TOOLSETS")),
        is_read_only=_flag("SEIKYU_READ_ONLY", env),
        file_roots=_roots(env.get("SEIKYU_FILE_ROOTS"), home),
        approvals_url=env.get("SEIKYU_APPROVALS_URL") or None,
        public_host=_public_host(env.get("SEIKYU_PUBLIC_HOST")),
        connections=read_connections(folder / "connections.toml"),
        slack=read_slack(folder / "connections.toml"),
        anchors=_anchors(env.get("SEIKYU_AUDIT_ANCHORS"), home),
        notify_command=_command("SEIKYU_NOTIFY_COMMAND", env),
        escalate_to=_words(env.get("SEIKYU_ESCALATE_TO")),
        anchor_command=_command("SEIKYU_ANCHOR_COMMAND", env),
        retention_years=_retention_years(env),
        legal_hold=(env.get("SEIKYU_LEGAL_HOLD") or "").strip() or None,
        database_url=_database_url(env.get("SEIKYU_DATABASE_URL")),
        master_key=None if not key else SecretStr(key),
        master_key_command=_command("SEIKYU_MASTER_KEY_COMMAND", env),
        master_key_source=_master_key_source(env.get("SEIKYU_MASTER_KEY_SOURCE")),
        timing=_timing(env),
        batch=_batch(env),
    )


def read_place(config: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """As `read_settings`, but no more than where the state is: what stopping everything takes.

    Raises:
        ConfigurationError: even that cannot be told; no other place is taken for it.
    """
    folder = config or default_config()
    env = read_environment(folder) if environ is None else environ
    return Settings(
        home=_path("SEIKYU_HOME", env.get("SEIKYU_HOME") or "~/.local/share/seikyu"),
        config=folder,
        requester=env.get("SEIKYU_REQUESTER") or _user_name(),
        lang=_lang(env.get("SEIKYU_LANG")),
        database_url=_database_url(env.get("SEIKYU_DATABASE_URL")),
    )


def spoken() -> Lang:
    """The language to complain in while the settings cannot be read."""
    return _lang(os.environ.get("SEIKYU_LANG"))


def _batch(env: Mapping[str, str]) -> BatchCap:
    cap = BatchCap()
    count, yen = (
        env.get(f"SEIKYU_BATCH_{name}") or str(usual) for name, usual in (("COUNT", cap.count), ("YEN", cap.yen))
    )
    if not all(re.fullmatch(r"[0-9]{1,15}", value) for value in (count, yen)) or not 1 <= int(count) <= MAX_BATCH:
        raise ConfigurationError(
            Text(
                f"SEIKYU_BATCH_COUNT は1から{MAX_BATCH}、SEIKYU_BATCH_YEN は0以上の整数で書いてください。",
                f"SEIKYU_BATCH_COUNT must be 1 to {MAX_BATCH} and SEIKYU_BATCH_YEN whole yen, such as 50 and 10000000.",
            )
        )
    return BatchCap(int(count), int(yen))


def _timing(env: Mapping[str, str]) -> Timing:
    """`SEIKYU_TIMING_<NAME>` overrides one wait, in whole seconds."""
    given = {name: env[key] for name in Timing.__slots__ if (key := f"SEIKYU_TIMING_{name.upper()}") in env}
    wrong = [name for name, value in given.items() if not value.isascii() or not value.isdigit()]
    if wrong:
        names = ", ".join(f"SEIKYU_TIMING_{name.upper()}" for name in wrong)
        raise ConfigurationError(
            Text(f"{names} は整数（秒か%）で書いてください。", f"{names} must be whole numbers, such as 60."),
        )
    timing = Timing(**{name: int(value) for name, value in given.items()})
    if timing.lease_s <= timing.write_s or min(timing.poll_s, timing.read_s, timing.write_s) < 1:
        raise ConfigurationError(
            Text(
                f"SEIKYU_TIMING_LEASE_S は WRITE_S（{timing.write_s}）より大きく、"
                "POLL_S・READ_S・WRITE_S は1以上にしてください。",
                f"SEIKYU_TIMING_LEASE_S must be over WRITE_S ({timing.write_s}), "
                "and POLL_S, READ_S and WRITE_S at least 1.",
            )
        )
    return timing
