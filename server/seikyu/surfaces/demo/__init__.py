"""The demo: the whole story in a minute, with real processes, real sockets and stand-in providers."""
