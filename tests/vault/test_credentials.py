import pytest
from pydantic import SecretStr

from seikyu.errors import LoginRequired
from seikyu.spec import Credential
from seikyu.store.presence import Presence
from seikyu.vault.credentials import ApiKeyCredential, BearerCredential
from seikyu.vault.secrets import Vault
from seikyu.vault.tokens import TokenCustodian
from vault.fakes import API_KEY, CLIENT_ID, CLIENT_SECRET, FREEE, MFK, Script, SetClock, tokens


async def test_an_api_key_travels_in_its_own_header(vault: Vault) -> None:
    vault.put_api_key(MFK, SecretStr(API_KEY))
    credential: Credential = ApiKeyCredential(vault, MFK)

    assert await credential.header() == ("apikey", API_KEY)


async def test_a_refused_api_key_asks_for_a_person_unless_it_was_replaced_meanwhile(vault: Vault) -> None:
    vault.put_api_key(MFK, SecretStr(API_KEY))
    credential = ApiKeyCredential(vault, MFK)
    with pytest.raises(LoginRequired, match="does not accept the API key of connection mfk-main"):
        await credential.header(refused=API_KEY)
    vault.put_api_key(MFK, SecretStr("newer"))

    assert await credential.header(refused=API_KEY) == ("apikey", "newer")


async def test_a_connection_without_an_api_key_asks_for_a_person(vault: Vault) -> None:
    with pytest.raises(LoginRequired, match="has no stored secret"):
        await ApiKeyCredential(vault, MFK).header()


async def test_a_bearer_token_is_renewed_when_its_header_was_refused(
    vault: Vault, clock: SetClock, presence: Presence
) -> None:
    vault.put_grant(FREEE, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET), answer=tokens(0))
    custodian = TokenCustodian(vault, clock, presence, Script([tokens(1)]))
    credential: Credential = BearerCredential(custodian, FREEE)
    name, value = await credential.header()
    renewed = await credential.header(refused=value)

    assert (name, value) == ("Authorization", "Bearer access-0-5ec4e7")
    assert renewed == ("Authorization", "Bearer access-1-5ec4e7")
    assert await credential.header(refused=value) == renewed
