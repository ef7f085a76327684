"""What a model can call: rows of ToolSpec, one file per trade word."""
