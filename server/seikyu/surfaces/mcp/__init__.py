"""The Model Context Protocol, over stdin and stdout or over HTTP, in both of its eras."""
