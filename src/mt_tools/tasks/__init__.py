"""Tasks: what a label column becomes as targets of learning, and what outputs become as tags.

`labels` says what a column holds, `kinds` (numpy) holds the table of kinds, `losses` (torch) the
loss of each.
"""
