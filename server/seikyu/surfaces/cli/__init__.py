"""The terminal: everything an operator and an engineer do with Seikyu."""
