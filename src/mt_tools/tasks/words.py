"""Kinds of task whose outputs have names: classes, ordered classes, tags, components.

Conventions and sources are those of `tasks.kinds`, whose table these functions fill: of a kind each
learns the parameters from training values, encodes a column, reads logits, decides, and says what
the best constant loses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError
from mt_tools.tasks.labels import class_name, counts, is_distribution, labelled, rows_of_names

Task = dict[str, Any]

DEFAULT_TOP = 5
"""Tags predicted for a track when the task has no calibrated thresholds."""


class Options(NamedTuple):
    """What the maker of a task may say beside its kind: see `make_task`."""

    scale: str
    vocabulary: list[str] | None
    balanced: bool


# Vocabularies


def checked_vocabulary(name: str, kind: str, words: Sequence[str]) -> list[str]:
    """Return a given vocabulary, or say what is wrong with it."""
    if kind in ("regression", "same-track"):
        raise UsageError(f"task {name!r}: {kind} has no vocabulary; leave out --vocab for it")
    words = [str(word) for word in words]
    twice = sorted(word for word, times in Counter(words).items() if times > 1)
    if twice:
        raise UsageError(
            f"task {name!r}: {', '.join(twice[:5])} stands twice in the vocabulary; "
            "expected each word once, one a line"
        )
    if len(words) < 2 - (kind == "multilabel"):
        raise UsageError(
            f"task {name!r}: got a vocabulary of {len(words)}, {kind} needs "
            f"{'one word' if kind == 'multilabel' else 'two words'} or more, one a line"
        )
    return words


def _outside_all(name: str, train: NDArray[Any], words: Sequence[str]) -> UsageError:
    """Make the error of a vocabulary that names nothing of what the training rows hold."""
    found = ", ".join(word for word, _ in counts(train).most_common(5))
    return UsageError(
        f"task {name!r}: no training row has a label of the vocabulary ({', '.join(words[:5])}"
        f"{', ...' if len(words) > 5 else ''}); they have {found}: spell the words as the column "
        "does, one a line"
    )


def _index(task: Task) -> Mapping[str, int]:
    """Return the position of each word among the task's outputs."""
    return {word: position for position, word in enumerate(task["vocabulary"])}


def width(task: Task) -> int:
    """One output a word of the vocabulary."""
    return len(task["vocabulary"])


# multiclass


def class_parameters(name: str, train: NDArray[Any], options: Options) -> dict[str, Any]:
    """Return the vocabulary, and the class weights that were asked for."""
    single = np.array([len(tags or ()) == 1 for tags in rows_of_names(train)])
    found = counts(train[single])
    if not found:
        raise UsageError(
            f"task {name!r}: none of the {len(train)} labelled training rows has exactly one item, "
            f"multiclass needs one class a row; use {name}:multilabel"
        )
    words = sorted(found) if options.vocabulary is None else options.vocabulary
    return _classes(name, "multiclass", train[single], words, options.balanced)


def _classes(
    name: str, kind: str, train: NDArray[Any], words: list[str], balanced: bool
) -> dict[str, Any]:
    """Return vocabulary and class weights, after a look at whether there is a choice to learn."""
    found = counts(train)
    numbers = [found[word] for word in words]
    present = [word for word, number in zip(words, numbers, strict=True) if number]
    if not present:
        raise _outside_all(name, train, words)
    if len(present) == 1:
        raise UsageError(
            f"task {name!r}: all {sum(numbers)} labelled training rows are of one class, "
            f"{present[0]!r}; {kind} needs two or more: label other classes, or drop the task"
        )
    share = sum(numbers) / len(present)
    # A class without a row has nothing to be balanced by; its weight matters to no training row.
    weights = [share / number if number else 1.0 for number in numbers] if balanced else None
    return {"vocabulary": words, "class_weights": weights}


def encode_classes(task: Task, values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return each row's place in the vocabulary, int64 [n], and the mask."""
    position = _index(task)
    targets = np.zeros(len(values), dtype=np.int64)
    mask = np.zeros(len(values), dtype=bool)
    for row, tags in enumerate(rows_of_names(values)):
        if tags is not None and len(tags) == 1:
            (tag,) = tags
            if tag in position:
                targets[row], mask[row] = position[tag], True
    return targets, mask


def softmax(_: Task, logits: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return probabilities that sum to 1, float32 [n, outputs]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def best_class(task: Task, scores: NDArray[Any], _: int | None) -> NDArray[np.object_]:
    """Return the word of the highest score; the first of equals."""
    return _named(task, scores, best_place(scores))


def best_place(scores: NDArray[Any]) -> NDArray[np.int64]:
    """Return the place [n] of the highest of the scores [n, classes]; the first of equals."""
    return np.argmax(scores, axis=1)


def _named(task: Task, scores: NDArray[Any], places: NDArray[Any]) -> NDArray[np.object_]:
    """Return the words at `places` [n] of the vocabulary; None where a score is not finite."""
    predicted = np.array(task["vocabulary"], dtype=object)[places]
    predicted[~np.isfinite(scores).all(axis=1)] = None
    return predicted


def class_entropy(task: Task, targets: NDArray[Any]) -> float:
    """Return the entropy of the classes, in nats, as they count by their weights."""
    mass = np.bincount(targets, minlength=width(task)).astype(np.float64)
    return float(_entropy(mass * (1.0 if task["class_weights"] is None else task["class_weights"])))


def _entropy(masses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the entropies [...] in nats of masses [..., k] that need not sum to 1."""
    shares = masses / masses.sum(axis=-1, keepdims=True)
    return -np.sum(shares * np.log(np.where(shares > 0, shares, 1.0)), axis=-1)


# ordinal


def step_parameters(name: str, train: NDArray[Any], options: Options) -> dict[str, Any]:
    """Return the vocabulary in its order, and the class weights that were asked for."""
    words = options.vocabulary
    if train.dtype.kind in "iuf":
        if not np.isfinite(train).all():
            raise infinite(name, "ordinal", train)
        if words is None:
            words = [class_name(number) for number in np.unique(train)]
        else:
            words = checked_vocabulary(name, "ordinal", [_number_name(name, w) for w in words])
    elif words is None:
        known = ", ".join(sorted(counts(train))[:5])
        raise UsageError(
            f"task {name!r}: ordinal classes have an order, and words ({known}) do not say theirs; "
            f"write them lowest first into a file, one a line, and add --vocab {name}=FILE"
        )
    return _classes(name, "ordinal", train, words, options.balanced)


def _number_name(name: str, word: str) -> str:
    """Return the name of a number written in a vocabulary: `2.0` is the class `2`."""
    try:
        return class_name(float(word))
    except ValueError:
        raise UsageError(
            f"task {name!r}: the column holds numbers, the vocabulary {word!r}; "
            "expected numbers, lowest first, one a line"
        ) from None


def class_probabilities(_: Task, logits: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return P(y = k) = P(y > 0) P(y > 1 | y > 0) ... (1 - P(y > k | y > k - 1))."""
    above, not_above = -np.logaddexp(0.0, -logits), -np.logaddexp(0.0, logits)
    nothing = np.zeros((len(logits), 1))
    reached = np.concatenate([nothing, np.cumsum(above, axis=1)], axis=1)
    return np.exp(reached + np.concatenate([not_above, nothing], axis=1)).astype(np.float32)


def median_class(task: Task, scores: NDArray[Any], _: int | None) -> NDArray[np.object_]:
    """Return the class at which the probabilities first reach one half."""
    return _named(task, scores, median_place(scores))


def median_place(scores: NDArray[Any]) -> NDArray[np.int64]:
    """Return the place [n] at which the probabilities [n, classes] first reach one half."""
    reached = np.cumsum(scores, axis=1, dtype=np.float64)
    # Half of the total, since float32 probabilities need not sum to 1 exactly.
    return np.argmax(reached >= reached[:, -1:] / 2, axis=1)


# multilabel


def tag_parameters(name: str, train: NDArray[Any], options: Options) -> dict[str, Any]:
    """Return the vocabulary, and the weights of positive rows that were asked for."""
    found = counts(train)
    if not found:
        raise UsageError(
            f"task {name!r}: the lists of all {len(train)} labelled training rows are empty; "
            "multilabel needs one tag or more: label some, or drop the task"
        )
    words = sorted(found) if options.vocabulary is None else options.vocabulary
    if not any(found[word] for word in words):
        raise _outside_all(name, train, words)
    weights = None
    if options.balanced:
        # A tag that all rows have, or none, has no two sides to balance.
        sides = [(len(train) - found[word], found[word]) for word in words]
        weights = [without / with_ if without and with_ else 1.0 for without, with_ in sides]
    return {"vocabulary": words, "class_weights": weights}


def encode_tags(task: Task, values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return 0 or 1 for each tag, float32 [n, tags], and the mask."""
    position = _index(task)
    targets = np.zeros((len(values), len(position)), dtype=np.float32)
    for row, tags in enumerate(rows_of_names(values)):
        for tag in tags or ():
            if tag in position:
                targets[row, position[tag]] = 1.0
    return targets, labelled(values)


def sigmoid(_: Task, logits: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the probability of each tag, float32 [n, tags]."""
    # exp(-log(1 + exp(-x))): neither overflows nor loses the small scores to cancellation.
    return np.exp(-np.logaddexp(0.0, -logits)).astype(np.float32)


def best_tags(task: Task, scores: NDArray[Any], top: int | None) -> NDArray[np.object_]:
    """Return the tags above their thresholds, or the best ones: see `kinds.decide`."""
    vocabulary, thresholds = task["vocabulary"], task["thresholds"]
    if thresholds is None:
        top = DEFAULT_TOP if top is None else top
        chosen = np.ones(scores.shape, dtype=bool)
    else:
        chosen = scores >= np.asarray(thresholds, dtype=np.float64)
    ranking = np.argsort(-scores, axis=1, kind="stable")
    predicted = np.empty(len(scores), dtype=object)
    for row, ranked in enumerate(ranking):
        if np.isfinite(scores[row]).all():
            predicted[row] = [vocabulary[tag] for tag in ranked if chosen[row, tag]][:top]
    return predicted


def tag_entropy(task: Task, targets: NDArray[Any]) -> float:
    """Return the mean over the tags of their binary cross-entropy at the best constant.

    With positives weighing w it is q = w p / (w p + 1 - p), and the loss that of the masses w p
    and 1 - p: their entropy times their sum.
    """
    share = targets.mean(axis=0, dtype=np.float64)
    heavy = share * (1.0 if task["class_weights"] is None else np.array(task["class_weights"]))
    masses = np.stack([heavy, 1.0 - share], axis=1)
    return float((_entropy(masses) * masses.sum(axis=1)).mean())


# distribution


def mixture_parameters(name: str, train: NDArray[Any], options: Options) -> dict[str, Any]:
    """Return the names of the components."""
    usable = train[is_distribution(train)]
    if not len(usable):
        raise UsageError(
            f"task {name!r}: none of the {len(train)} labelled training rows is a distribution; "
            "expected vectors of numbers from 0 that sum to 1, as mt-factor gmm, plsa, lda and agf "
            "make them"
        )
    if (usable == usable[0]).all():
        raise UsageError(
            f"task {name!r}: all {len(usable)} training rows have the same distribution; "
            "label others, or drop the task"
        )
    words = options.vocabulary or [str(component) for component in range(train.shape[1])]
    if len(words) != train.shape[1]:
        raise UsageError(
            f"task {name!r}: got a vocabulary of {len(words)}, the column has {train.shape[1]} "
            "components; name each of them, in order, one a line"
        )
    return {"vocabulary": words}


def encode_mixtures(task: Task, values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return rows that sum to 1, float32 [n, components], and the mask."""
    components = width(task)
    if values.ndim != 2:  # nothing is labelled: see `content`
        return np.zeros((len(values), components), np.float32), np.zeros(len(values), bool)
    if values.shape[1] != components:
        raise UsageError(
            f"task {task['name']!r}: got vectors of {values.shape[1]}, expected {components} each; "
            "give a table whose column was made in the same way"
        )
    mask = is_distribution(values)
    targets = np.zeros((len(values), components), dtype=np.float32)
    exact = values[mask].astype(np.float64)
    targets[mask] = exact / exact.sum(axis=1, keepdims=True)
    return targets, mask


def mean_divergence(_: Task, targets: NDArray[Any]) -> float:
    """Return the mean Kullback-Leibler divergence from the mean distribution, which is the best."""
    exact = targets.astype(np.float64)
    return float(_entropy(exact.mean(axis=0)) - _entropy(exact).mean())


def infinite(name: str, kind: str, numbers: NDArray[Any]) -> UsageError:
    """Make the error of training rows that are infinite."""
    return UsageError(
        f"task {name!r}: {int((~np.isfinite(numbers)).sum())} training rows are infinite; "
        f"{kind} needs finite numbers: use null for unlabelled"
    )
