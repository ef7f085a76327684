"""Where state lives: one schema, SQL in files, documents by their digest."""
