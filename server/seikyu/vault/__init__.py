"""The custody of secrets: keys, sealed rows, and the grants of the providers."""
