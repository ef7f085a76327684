"""The master key in the operating system's keyring: Keychain, Credential Manager, Secret Service, KWallet.

The library `keyring` is an extra (`seikyu[keyring]`). It takes any back end it finds, files in plain text included;
we take the system's own and no other.
"""

from __future__ import annotations

import importlib
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from seikyu.errors import ConfigurationError, Text
from seikyu.models import shown
from seikyu.settings import KeyPlaceName
from seikyu.vault.rings import KeyRing, new_key, ring_of

SERVICE: Final = "seikyu"
LIMIT_S: Final = 30
"""The longest it may take to answer: it may ask a person to unlock it."""
TRUSTED: Final = frozenset(
    {
        "keyring.backends.macOS",
        "keyring.backends.Windows",
        "keyring.backends.SecretService",
        "keyring.backends.libsecret",
        "keyring.backends.kwallet",
    }
)
"""The modules of the back ends that encrypt under the person's login. Source: keyring 25.7.0, read 2026-11-21."""
_CHAIN: Final = "keyring.backends.chainer"
_SECOND: Final = " (next)"


class Keychain:
    """The entry of service `seikyu` whose user name is the home's path, so that each installation has its own.

    Some keyrings replace an entry by deleting it first. So a ring is written to a second entry before, whose user name
    ends in ` (next)` and which is read when the first is gone: no crash can lose both.
    """

    def __init__(self, home: Path, *, limit_s: int = LIMIT_S) -> None:
        self.kind: KeyPlaceName = "keyring"
        self.is_given = True
        self._user = str(home.absolute())
        self._limit_s = limit_s

    @property
    def place(self) -> Text:
        user = shown(self._user, 200)
        return Text(
            f"OSのキーリング（サービス {SERVICE}、ユーザー {user}）", f"The OS keyring (service {SERVICE}, user {user})"
        )

    def read(self) -> KeyRing | None:
        """The keys; None when the keyring answers that it has none.

        Raises:
            ConfigurationError: no library, no keyring we trust, locked, silent, or what it holds is no key.
        """
        text = self._asked(self._find)
        return None if text is None else ring_of(text, self.place)

    def create(self) -> KeyRing:
        """Put a new key there. Raises as `replace`, and when there is one already."""
        if self.read() is not None:
            raise ConfigurationError(
                Text(f"{self.place.ja} には鍵がすでにあります。", f"{self.place.en} holds a key already."),
                Text("そのまま使ってください。", "Use it as it is."),
            )
        ring = KeyRing(new_key())
        self.replace(ring)
        return ring

    def replace(self, ring: KeyRing) -> None:
        """Put `ring` in the place of what was there, and see that it is there.

        Raises:
            ConfigurationError: as `read`, or it did not keep what it was given.
        """
        self._asked(lambda backend: self._keep(backend, ring.text()))
        if self.read() != ring:
            raise self._failed(Text("書いた鍵を保っていません", "it did not keep what it was given"))

    def _find(self, backend: Any) -> SecretStr | None:  # noqa: ANN401 - a back end of the library
        first = backend.get_password(SERVICE, self._user)
        found = first or backend.get_password(SERVICE, self._user + _SECOND)
        return None if found is None else SecretStr(found)

    def _keep(self, backend: Any, text: SecretStr) -> None:  # noqa: ANN401 - a back end of the library
        backend.set_password(SERVICE, self._user + _SECOND, text.get_secret_value())
        backend.set_password(SERVICE, self._user, text.get_secret_value())
        backend.delete_password(SERVICE, self._user + _SECOND)

    def _asked(self, work: Callable[[Any], SecretStr | None]) -> SecretStr | None:
        """Do `work` with the back end, in a thread that is left behind if it does not answer."""
        answers: queue.SimpleQueue[SecretStr | ConfigurationError | None] = queue.SimpleQueue()
        threading.Thread(target=lambda: answers.put(self._worked(work)), daemon=True).start()
        try:
            answer = answers.get(timeout=self._limit_s)
        except queue.Empty:
            raise self._failed(
                Text(f"{self._limit_s}秒待っても答えません", f"no answer within {self._limit_s} s")
            ) from None
        if isinstance(answer, ConfigurationError):
            raise answer
        return answer

    def _worked(self, work: Callable[[Any], SecretStr | None]) -> SecretStr | ConfigurationError | None:
        try:
            return work(_backend(self._untrusted))
        except ConfigurationError as error:
            return error
        except ImportError:
            return _no_library()
        except Exception as error:  # noqa: BLE001 - each back end raises its own, and what they say may hold the entry
            return self._failed(_meaning(error))

    def _untrusted(self, name: str) -> ConfigurationError:
        return ConfigurationError(
            Text(
                f"使えるOSのキーリングがありません（{name}）。",
                f"There is no OS keyring that can be trusted with a key (found: {name}).",
            ),
            Text(
                "SEIKYU_MASTER_KEY_SOURCE=file か SEIKYU_MASTER_KEY_COMMAND を使ってください。",
                "Use SEIKYU_MASTER_KEY_SOURCE=file, or SEIKYU_MASTER_KEY_COMMAND.",
            ),
        )

    def _failed(self, why: Text) -> ConfigurationError:
        return ConfigurationError(
            Text(f"{self.place.ja} を使えません: {why.ja}。", f"{self.place.en} cannot be used: {why.en}."),
            Text(
                "サーバーの利用者としてキーリングのロックを解除してから、もう一度試してください。",
                "Unlock the keyring as the server's user, then try again.",
            ),
        )


def _backend(untrusted: Callable[[str], ConfigurationError]) -> Any:  # noqa: ANN401 - a back end of the library
    """The system's own keyring, whatever else the library would take as well.

    Raises:
        ImportError: the library is not installed.
        ConfigurationError: there is none.
    """
    keyring: Any = importlib.import_module("keyring")  # by name: it need not be there
    chosen: Any = keyring.get_keyring()
    several: Sequence[Any] = chosen.backends if type(chosen).__module__ == _CHAIN else [chosen]
    found = next((one for one in several if type(one).__module__ in TRUSTED), None)
    if found is None:
        raise untrusted(type(chosen).__module__)
    return found


def _meaning(error: Exception) -> Text:
    """By the name of the class: the words are the back end's."""
    name = type(error).__name__
    if name == "KeyringLocked":
        return Text("ロックされています", "it is locked")
    return Text(f"エラー {shown(name, 60)}", f"it failed with {shown(name, 60)}")


def _no_library() -> ConfigurationError:
    return ConfigurationError(
        Text("OSのキーリングを使うライブラリがありません。", "The library that reads the OS keyring is not installed."),
        Text("seikyu[keyring] をインストールしてください。", "Install seikyu[keyring]."),
    )
