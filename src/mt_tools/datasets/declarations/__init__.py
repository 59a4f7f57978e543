"""The declarations, a module a kind of data set; `registry` has them by name.

Where a checksum or a size comes from is said beside it; one that nobody states stays empty. What
is long (the checksums of a hundred archives, lists of excerpts) stands in `data/`. Standard
library only.
"""
