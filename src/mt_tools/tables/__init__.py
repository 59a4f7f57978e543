"""The wire: one table with reserved columns, and every way to read and write it."""
