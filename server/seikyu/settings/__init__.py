"""Everything a person configures, read once and checked as a whole.

The environment (and `.env` in the configuration folder) says where things are; `connections.toml` says which
accounts exist. Secrets are never here: they are in the vault.
"""

from seikyu.settings.accounts import DEFAULT_BASE_URLS, read_connections
from seikyu.settings.environment import default_config, read_environment, read_place, read_settings, spoken
from seikyu.settings.values import (
    LEAST_YEARS,
    LOOPBACK_HOSTS,
    MAX_BATCH,
    BatchCap,
    KeyPlaceName,
    Settings,
    SlackApp,
    Timing,
)

__all__ = [
    "DEFAULT_BASE_URLS",
    "LEAST_YEARS",
    "LOOPBACK_HOSTS",
    "MAX_BATCH",
    "BatchCap",
    "KeyPlaceName",
    "Settings",
    "SlackApp",
    "Timing",
    "default_config",
    "read_connections",
    "read_environment",
    "read_place",
    "read_settings",
    "spoken",
]
