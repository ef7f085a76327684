from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from seikyu.store.database import Store
from seikyu.store.presence import Presence
from seikyu.vault.secrets import Vault
from vault.fakes import SetClock, StrictServer, ring


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def store(home: Path, database_url: SecretStr | None) -> Iterator[Store]:
    store = Store(database_url or home / "seikyu.db")
    yield store
    store.close()


@pytest.fixture
def vault(store: Store, clock: SetClock) -> Vault:
    return Vault(store, clock, ring)


@pytest.fixture
def presence(home: Path) -> Iterator[Presence]:
    presence = Presence(home / "present")
    yield presence
    presence.leave()


@pytest.fixture
def server() -> Iterator[StrictServer]:
    import threading

    with StrictServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
