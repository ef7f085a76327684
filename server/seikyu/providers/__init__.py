"""The providers: one HTTP client for all, and per provider an operation table, models, rules and a client."""
