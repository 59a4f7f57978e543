"""One module a command: rows in, rows out. Stages meet only in a table."""
