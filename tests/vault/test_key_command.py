import os
import select
import sys
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from seikyu.errors import ConfigurationError, Text
from seikyu.vault.key_command import KeyCommand
from seikyu.vault.keys import KeyPlaces
from seikyu.vault.rings import ring_of
from vault.fakes import is_plain, ring, told

HEX = bytes(range(32)).hex()
OTHER = bytes(range(1, 33)).hex()


def program(tmp_path: Path, *lines: str) -> tuple[str, ...]:
    path = tmp_path / "give the key.py"
    path.write_text("\n".join(["import os, sys, time", *lines]) + "\n")
    return sys.executable, "-I", str(path)  # it knows nothing of our packages


def read(command: tuple[str, ...], **environ: str) -> str:
    """The id of the key that seals."""
    keys = KeyCommand(command, os.environ | environ, limit_s=10).read()
    assert keys is not None
    return keys.current.id


def refused(command: tuple[str, ...], *, limit_s: int = 10) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        KeyCommand(command, limit_s=limit_s).read()
    assert is_plain(caught.value)
    return caught.value


def test_the_key_is_what_the_program_prints(tmp_path: Path) -> None:
    keys = KeyPlaces(tmp_path, variable=None, command=program(tmp_path, f"print('{HEX}')"))()

    assert keys.current.raw.get_secret_value() == bytes(range(32))


def test_two_lines_are_two_keys_and_the_first_one_seals(tmp_path: Path) -> None:
    keys = KeyCommand(program(tmp_path, f"print('{OTHER}')", f"print('{HEX}')")).read()

    assert keys is not None
    assert [key.raw.get_secret_value().hex() for key in keys.keys] == [OTHER, HEX]


@pytest.mark.parametrize(
    "lines",
    [
        [f"print('{HEX}')", "print('signed in as suzuki')"],
        [f"print('{HEX[:32]}')"],
        [f"print('{HEX[:62]}')"],
        ["sys.stdout.buffer.write(bytes(range(200)))"],
        ["print(*[format(key, '064x') for key in range(25)])"],
        [f"print('{HEX}' + ' ' * 2000)"],
    ],
)
def test_what_is_no_key_is_refused_and_never_repeated(tmp_path: Path, lines: list[str]) -> None:
    error = refused(program(tmp_path, *lines))

    assert "does not hold a key of 32 bytes" in error.what.en
    for shown in (told(error), error.say("ja"), error.say("en")):
        assert HEX[:16] not in shown
        assert "suzuki" not in shown


@pytest.mark.parametrize(
    "lines, why",
    [
        ([], "printed nothing"),
        (["print()"], "printed nothing"),
        (["sys.exit(3)"], "exit code 3"),
        ([f"print('{HEX}')", "sys.exit(1)"], "exit code 1"),
    ],
)
def test_a_program_that_fails_or_says_nothing_is_told_with_the_next_step(
    tmp_path: Path, lines: list[str], why: str
) -> None:
    error = refused(program(tmp_path, "print('the key is k', file=sys.stderr)", *lines))

    assert why in error.what.en
    assert "Run the command yourself" in error.next_step.en
    assert "the key is" not in told(error)


def test_a_program_that_is_not_there_is_told() -> None:
    error = refused(("/nowhere/give-key", "--vault", "private"))

    assert "(give-key) gave no key: cannot be started" in error.what.en
    assert "private" not in error.say("en")


def test_a_program_that_hangs_is_killed_with_all_it_started(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "held")
    held = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)
    hanging = "/bin/sh", "-c", f"exec 3> {tmp_path / 'held'}; sleep 60 & sleep 60"

    error = refused(hanging, limit_s=1)
    ends = select.poll()
    ends.register(held)
    [(_, event)] = ends.poll(10_000)
    os.close(held)

    assert "did not end within 1 s" in error.what.en
    assert event == select.POLLHUP  # nobody holds it open any more


def test_an_agent_that_the_program_leaves_behind_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "held")
    held = os.open(tmp_path / "held", os.O_RDWR)  # the agent lives until this is closed
    starts_an_agent = "/bin/sh", "-c", f"cat {tmp_path / 'held'} & echo {HEX}"
    began = time.monotonic_ns()

    found = read(starts_an_agent)

    took_s = (time.monotonic_ns() - began) // 10**9
    os.close(held)
    assert found == ring_of(SecretStr(HEX), Text("", "")).current.id
    assert took_s < 5


def test_a_program_that_prints_without_end_is_cut_off(tmp_path: Path) -> None:
    error = refused(program(tmp_path, "while True: print('k' * 100000)"))

    assert "does not hold a key" in error.what.en


def test_the_program_sees_its_own_login_but_none_of_our_secrets_no_input_and_no_terminal(tmp_path: Path) -> None:
    asking = program(
        tmp_path,
        "ours = [name for name in os.environ if name.startswith(('SEIKYU', 'PGPASS'))]",
        "is_right = not ours and os.environ['OP_TOKEN'] == 'its own'",
        "is_right = is_right and not sys.stdin.read() and os.getsid(0) == os.getpid()",
        f"print('{HEX}' if is_right else '{OTHER}')",
    )

    found = read(asking, SEIKYU_MASTER_KEY="x", SEIKYU_DATABASE_URL="x", PGPASSWORD="x", OP_TOKEN="its own")

    assert found == read((sys.executable, "-I", "-c", f"print('{HEX}')"))


def test_what_the_program_says_on_stderr_is_thrown_away(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = program(tmp_path, "sys.stderr.write('the key is near')", f"print('{HEX}')")

    read(command)

    assert capfd.readouterr() == ("", "")


def test_no_shell_reads_the_command(tmp_path: Path) -> None:
    command = (*program(tmp_path, f"print('{HEX}' if sys.argv[1] == '$(id); *' else 'no')"), "$(id); *")

    assert read(command) != ring().current.id
