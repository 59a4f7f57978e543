"""Tasks: what a label column becomes as targets of learning, and what outputs become as tags.

`kinds` (numpy) holds the table of kinds; `losses` (torch) holds the loss of each.
"""
