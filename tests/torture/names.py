"""Names of files that break programs, and are allowed."""

from __future__ import annotations

NAMES = [
    "a space.", " leading space.", "trailing space .", "it's.", 'a "quoted" one.', "new\nline.",
    "tab\there.", "carriage\rreturn.", "-n.", "--apply.", "-.", "$HOME.", "$(rm -rf x).", "`id`.",
    "back\\slash.", "star*.", "question?.", "[brackets].", "{a,b}.", "semi;colon.", "a|pipe.",
    "less < more >.", "amp&ersand.", "percent%20.", "100%.", "hash#1.", "at@0.5.", "equals=1.",
    "co:lon.", "file:name.", "comma, a.", "tilde~.", "~.", "emoji \U0001f3b5\U0001f469\u200d\U0001f3a4.",
    "\u0645\u0648\u0633\u064a\u0642\u0649.", "\u202eright to left.", "\u97f3\u697d.", "caf\u00e9 composed.",
    "cafe\u0301 composed.", "zero\u200bwidth.", "\x1b[31mred.", "bell\x07.", "two..dots.", "a.mp3.flac.",
    "UPPER.", "x" * 250 + ".", "\U0001f3b5" * 62 + ".", "NUL.", "con.", "null.", "None.", "{}.", "%s%n.",
]  # fmt: skip
"""Without their endings, of which some make 255 bytes with four letters."""

RAW_NAMES = [b"latin \xe9.", b"\xff\xfe.", b"shift \x83\x65\x83X\x83g.", b"half \xe2\x82."]
"""Names that are no UTF-8."""

FOLDERS = [
    "/".join(["deep"] * 40), "-rf", "new\nline", "AC/DC", "100% hits", "\u97f3\u697d", "a " * 20 + "b",
    "cafe\u0301", "caf\u00e9", "folder.mp3", "trailing dot.", "'quoted'",
]  # fmt: skip
"""Folders, each of which gets a file."""

RAW_FOLDERS = [b"caf\xe9", b"\xfe\xff"]
