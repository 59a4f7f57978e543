"""The options of `mt-factor`, a class a method. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from mt_tools.settings import setting


@dataclass(frozen=True)
class FittedSettings:
    """What every method that is fitted can be told."""

    fitted: str = setting(
        "", "Write what was fitted to this .npz file.", metavar="FILE", result=False
    )
    apply: str = setting(
        "", "Apply what was fitted before, to new tracks; nothing is fitted.", metavar="FILE"
    )
    ignore_split: bool = setting(False, "Fit on all rows, the test rows too.")


@dataclass(frozen=True)
class PlsaSettings(FittedSettings):
    """`mt-factor plsa`."""

    column: str = setting(
        "", "Lists of words (multilabel), or counts, where there are several.", metavar="COLUMN"
    )
    factors: int = setting(50, "Number of factors.", flags=("--factors", "-k"), minimum=1)
    per: str = setting(
        "track",
        "Mix of each track, or of all tracks of its group.",
        choices=("track", "group"),
    )
    tfidf: bool = setting(
        False, "Weight words by TF-IDF, so that those that all tracks have say little (lyrics)."
    )
    min_documents: int = setting(
        1, "Leave out words that fewer tracks, or groups, hold.", minimum=1, metavar="N"
    )
    iterations: int = setting(200, "Updates at most.", minimum=1)
    seed: int = setting(0, "Seed of the start.", minimum=0)
    as_: str = setting("plsa", "Name of the new column.", flags=("--as",), metavar="NAME")


@dataclass(frozen=True)
class LdaSettings(FittedSettings):
    """`mt-factor lda`."""

    column: str = setting(
        "", "Lists of words (multilabel), or counts, where there are several.", metavar="COLUMN"
    )
    factors: int = setting(
        40, "Number of topics (the AGF study has 40).", flags=("--factors", "-k"), minimum=1
    )
    per: str = setting(
        "track",
        "Mix of each track, or of all tracks of its group.",
        choices=("track", "group"),
    )
    min_documents: int = setting(
        1, "Leave out words that fewer tracks, or groups, hold.", minimum=1, metavar="N"
    )
    passes: int = setting(10, "Times that the fit goes through the tracks.", minimum=1)
    batch: int = setting(256, "Tracks, or groups, an update.", minimum=1)
    document_prior: float = setting(
        0.0,
        "Words of each topic that a track is taken to have beside its own; 0 = 1 / factors, one "
        "word in all.",
        minimum=0.0,
        maximum=1.0,
    )
    word_prior: float = setting(
        0.0,
        "How often a topic is taken to have each word beside what is found; 0 = 1 / factors.",
        minimum=0.0,
        maximum=1.0,
    )
    seed: int = setting(0, "Seed of the start, and of the order of the tracks.", minimum=0)
    as_: str = setting("lda", "Name of the new column.", flags=("--as",), metavar="NAME")


@dataclass(frozen=True)
class KmeansSettings:
    """`mt-factor kmeans`."""

    column: str = setting("", "Features or embeddings, where there are several.", metavar="COLUMN")
    words: int = setting(1024, "Number of words.", flags=("--words", "-k"), minimum=2)
    seed: int = setting(0, "Seed of the frames drawn, and of the start.", minimum=0)
    ignore_split: bool = setting(False, "Fit on all rows, the test rows too.")
    output: str = setting(
        "", "Write the dictionary to this .npz file.", flags=("--output", "-o"),
        metavar="FILE", result=False,
    )  # fmt: skip


@dataclass(frozen=True)
class BofSettings:
    """`mt-factor bof`."""

    words: str = setting("", "Dictionary of mt-factor kmeans.", metavar="FILE")
    column: str = setting("", "Features or embeddings, where there are several.", metavar="COLUMN")
    per: str = setting(
        "track",
        "Count in a track, whose segments become one row, or in all rows of its group that are "
        "in the same split; the rows stay as they are then.",
        choices=("track", "group"),
    )
    as_: str = setting("words", "Name of the new column.", flags=("--as",), metavar="NAME")


@dataclass(frozen=True)
class AgfSettings(FittedSettings):
    """`mt-factor agf`."""

    column: str = setting(
        "",
        "Features, embeddings or lists of words, where there are several; features or embeddings "
        "come before lists.",
        metavar="COLUMN",
    )
    factors: int = setting(40, "Number of groups.", flags=("--factors", "-k"), minimum=1)
    words: int = setting(2048, "Words of the dictionary; lists of words have their own.", minimum=2)
    min_words: int = setting(
        10,
        "Count artists with fewer words, and name those with fewest. They keep their mixture, but "
        "the fewer words, the more even it is: all groups in equal shares weigh as one word.",
        minimum=0,
    )
    passes: int = setting(20, "Times that the topic model goes through the artists.", minimum=1)
    keep: bool = setting(False, "Keep the features that words were made of.")
    seed: int = setting(0, "Seed of the frames drawn, and of the starts.", minimum=0)
    as_: str = setting("agf", "Name of the new column.", flags=("--as",), metavar="NAME")


@dataclass(frozen=True)
class GmmSettings(FittedSettings):
    """`mt-factor gmm`."""

    column: str = setting("", "Column of numbers, where there are several.", metavar="COLUMN")
    components: str = setting(
        "50",
        "Number of components (the REP study has 50), or auto: up to 50, as many as the Bayesian "
        "information criterion asks for.",
        flags=("--components", "-k"),
        metavar="N|auto",
    )
    seed: int = setting(0, "Seed of the starts.", minimum=0)
    as_: str = setting("gmm", "Name of the new column.", flags=("--as",), metavar="NAME")


@dataclass(frozen=True)
class QuantileSettings(FittedSettings):
    """`mt-factor quantile`."""

    column: str = setting(
        "", "Column of numbers or of vectors, where there are several.", metavar="COLUMN"
    )
    seed: int = setting(
        0, "Seed of the rows drawn, of vectors that do not all fit into memory.", minimum=0
    )
    as_: str = setting(
        "",
        "Name of the new column; without one quantile, of vectors embedding.quantile.",
        flags=("--as",),
        metavar="NAME",
    )


@dataclass(frozen=True)
class PcaSettings(FittedSettings):
    """`mt-factor pca`."""

    column: str = setting("", "Column of vectors, where there are several.", metavar="COLUMN")
    components: float = setting(
        0.0,
        "Number of components, or a share of the variance below 1, such as 0.95: as few as have "
        "it; 0 = all in which the vectors vary.",
        flags=("--components", "-k"),
        minimum=0.0,
        metavar="N|SHARE",
    )
    as_: str = setting("embedding.pca", "Name of the new column.", flags=("--as",), metavar="NAME")


@dataclass(frozen=True)
class SameTrackSettings:
    """`mt-factor same-track`."""

    crop: float = setting(
        2.5, "Length of a crop (the REP study has 2.5 s).", metavar="SECONDS", minimum=0.01
    )
    pairs: int = setting(1000, "Number of pairs, half of them of one track.", minimum=1)
    seed: int = setting(0, "Seed of the tracks and places drawn.", minimum=0)


@dataclass(frozen=True)
class ExplainSettings:
    """`mt-factor explain`."""

    column: str = setting(
        "",
        "Factors to explain, of predictions or targets, where the table has several that fit.",
        metavar="COLUMN",
    )
    source: tuple[str, ...] = setting(
        (),
        "Explain this column by this fitted file; again for several side by side. All inputs are "
        "tables then.",
        flags=("--source", "-s"),
        metavar="COLUMN=FITTED",
    )
    top: int = setting(5, "Terms at most.", minimum=1)
    by: str = setting(
        "auto",
        "What strong means: weight is the probability of a term, lift that over its mean. auto is "
        "weight for the terms of factors, lift for what tells tracks, labels or regions apart.",
        choices=("auto", "weight", "lift"),
    )
    weights: bool = setting(False, "Write the weights, or lifts, of a track's terms too.")
    labels: str = setting(
        "",
        "Explain factors by a column of the table: the classes, tags or artists whose tracks have "
        "most of each.",
        metavar="COLUMN",
    )
    regions: int = setting(
        0, "Explain so many regions of a map of the embeddings instead of tracks.", minimum=0
    )
    embedding: str = setting(
        "", "Regions: the embedding, where there are several.", metavar="COLUMN"
    )
    map: str = setting(
        "tsne", "Regions: how vectors find their places; umap is an extra.",
        choices=("tsne", "umap", "pca"),
    )  # fmt: skip
    seed: int = setting(0, "Regions: seed of the map.", minimum=0)
