"""Requirements: what passes, what fails, and what cannot be read."""

import math

import pytest

from mt_tools.errors import UsageError
from mt_tools.evaluate.require import parse, unmet

RESULTS = {"style.accuracy": 0.8, "mood.accuracy": 0.4, "energy.r2": 0.5, "key.r2": math.nan}


@pytest.mark.parametrize(
    ("text", "failures"),
    [
        ("style.accuracy>=0.8", 0),
        ("style.accuracy > 0.8", 1),
        ("style.accuracy<=0.8", 0),
        ("style.accuracy<0.8", 1),
        (" style.accuracy == 8e-1 ", 0),
        ("style.accuracy==0.81", 1),
        ("accuracy>=0.5", 1),
        ("accuracy>=0.9", 2),
        ("accuracy>0.3", 0),
        ("energy.r2>-1", 0),
    ],
)
def test_requirements_hold_or_not(text, failures):
    """CI would pass with a model that is too weak, or fail with one that is good enough."""
    assert len(unmet([parse(text)], RESULTS)) == failures


def test_failure_says_what_was_found():
    """A failed nightly run would not say by how much."""
    assert unmet([parse("accuracy>=0.5")], RESULTS) == [
        "accuracy>=0.5 does not hold: mood.accuracy is 0.4"
    ]


def test_ends_of_intervals_and_single_labels():
    """The lower end of an interval, or one tag, could not be required."""
    results = {"tags.auc": 0.8, "tags.auc.low": 0.7, "tags.auc[female vocalist].low": 0.6}
    assert unmet([parse("auc.low >= 0.7")], results) == []
    (line,) = unmet([parse("tags.auc[female vocalist].low>=0.65")], results)
    assert "tags.auc[female vocalist].low is 0.6" in line
    with pytest.raises(UsageError, match=r"expected one of: tags\.auc; \.low"):
        unmet([parse("tags.auc.median>0")], results)


def test_undefined_never_holds():
    """A metric without a value would satisfy any bound."""
    for text in ("key.r2<=1", "key.r2>=-9", "key.r2==0"):
        assert "undefined" in unmet([parse(text)], RESULTS)[0]


def test_unknown_metric_lists_the_known():
    """A misspelt metric would pass, or leave the user guessing the names."""
    with pytest.raises(UsageError, match=r"'acuracy'.*energy\.r2.*style\.accuracy"):
        unmet([parse("acuracy>=0.5")], RESULTS)


@pytest.mark.parametrize(
    "text", ["accuracy", "accuracy>=", ">=0.5", "accuracy=0.5", "accuracy>=high", "a>=1>2", "a>nan"]
)
def test_unreadable_requirement_is_refused(text):
    """A mistyped requirement would be ignored."""
    with pytest.raises(UsageError, match=r"accuracy>=0\.5"):
        parse(text)
