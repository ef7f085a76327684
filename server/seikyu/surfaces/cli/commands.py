"""The command line as a whole: which commands there are, and how their failures look.

A command's module is imported when that command runs: `seikyu serve` is started by every client and must not wait
for what only operators use.
"""

from __future__ import annotations

import errno
import gc
import importlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import click

from seikyu import __version__
from seikyu.errors import NOTHING, Lang, SeikyuError, Text
from seikyu.surfaces.cli.house import House

if TYPE_CHECKING:
    from seikyu.surfaces.doctor.patient import Patient

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "serve": ("serving", "serve"),
    "demo": ("serving", "demo"),
    "sandbox": ("serving", "sandbox"),
    "connect": ("accounts", "connect"),
    "connections": ("accounts", "connections"),
    "disconnect": ("accounts", "disconnect"),
    "webhook": ("webhooks", "webhook"),
    "slack": ("slack", "slack"),
    "operator": ("operators", "group"),
    "delegate": ("operators", "delegate"),
    "undelegate": ("operators", "undelegate"),
    "actions": ("decisions", "list_actions"),
    "show": ("decisions", "show"),
    "approve": ("decisions", "approve"),
    "edit": ("editing", "edit"),
    "reject": ("decisions", "reject"),
    "return": ("decisions", "return_"),
    "revoke": ("decisions", "revoke"),
    "resolve": ("decisions", "resolve"),
    "reconcile": ("decisions", "reconcile"),
    "freeze": ("freezing", "freeze"),
    "unfreeze": ("freezing", "unfreeze"),
    "vault": ("vault", "group"),
    "outbox": ("outbox", "outbox"),
    "audit": ("audit_log", "audit"),
    "policy": ("policies", "policy"),
    "tools": ("tool_list", "list_tools"),
    "doctor": ("doctor", "doctor"),
}
"""Every command: its module beside this one, and its name there. In the order of the help."""


_LOOK: Final = Text(
    "全体を調べるには、同じ環境で seikyu doctor を実行してください（何も変更しません）。",
    "`seikyu doctor`, run in the same environment, looks at everything and changes nothing.",
)
"""What a server that did not start says last: its words end up in a client's log."""


class Seikyu(click.Group):
    """The `seikyu` command; an error of ours is one clear message and exit code 1, never a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        found: click.Command = getattr(importlib.import_module(f"seikyu.surfaces.cli.{module}"), name)
        return found

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(ctx)
        except SeikyuError as error:
            from seikyu.settings import spoken
            from seikyu.surfaces.cli import screen

            lang: Lang = spoken() if ctx.obj is None else ctx.obj.lang
            screen.complain(error, lang)
            if ctx.invoked_subcommand == "serve":
                screen.console(stderr=True).print(_LOOK.say(lang))
            raise SystemExit(1) from None
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as error:
            from seikyu.surfaces.cli.usage import misused

            self._tell(ctx, misused(error))
            raise SystemExit(error.exit_code) from None
        except (click.Abort, KeyboardInterrupt, EOFError):
            from seikyu.surfaces.cli.usage import stopped

            self._tell(ctx, stopped())
            raise SystemExit(1) from None
        except OSError as error:
            if error.errno == errno.EPIPE:  # who read our output has left: click ends without a word
                raise
            _complain_of(error, getattr(ctx.obj, "lang", "ja"))
            raise SystemExit(1) from None

    def _tell(self, ctx: click.Context, said: Text) -> None:
        from seikyu.settings import spoken
        from seikyu.surfaces.cli import screen

        lang: Lang = spoken() if ctx.obj is None else ctx.obj.lang
        screen.console(stderr=True).print(said.say(lang))


def _complain_of(error: OSError, lang: Lang) -> None:
    """By its name only: the words may hold anything. Where that cannot be written either, the exit code must do."""
    from seikyu.surfaces.cli import screen

    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    what = Text(
        f"出力かファイルの読み書きができませんでした（{name}）。", f"Something could not be read or written ({name})."
    )
    with suppress(OSError):
        screen.complain(SeikyuError(what, _SO_FAR, written=NOTHING), lang)


_SO_FAR: Final = Text(
    "ここまでにしたことは残っています。原因は `seikyu doctor` で調べてください。",
    "What was done so far stays done; `seikyu doctor` looks for the cause.",
)


def build(
    open_house: Callable[[], House],
    find_patient: Callable[[], Patient] | None = None,
    open_to_stop: Callable[[], House] | None = None,
) -> click.Group:
    """The command group; `open_house` reads the settings when a command runs.

    `find_patient` does so for the doctor, who also comes when they cannot be read, and `open_to_stop` for `freeze`.
    """
    others = {"doctor": find_patient, "freeze": open_to_stop}

    @click.group(cls=Seikyu, context_settings={"help_option_names": ["-h", "--help"]})
    @click.version_option(__version__, prog_name="seikyu")
    @click.pass_context
    def seikyu(ctx: click.Context) -> None:
        """請求 Seikyu: アシスタントに請求の手を、印鑑は人の手に / hands for invoicing, the seal in your hand."""
        if ctx.invoked_subcommand != "serve":
            gc.enable()  # a server wakes it once it has imported what it serves
        if ctx.obj is None:
            ctx.obj = (others.get(ctx.invoked_subcommand or "") or open_house)()

    return seikyu
