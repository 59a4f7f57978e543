"""Whose values win in a field, run after run."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt_tools.library.plan import EXISTING, MARK, Plan, Wish, line, plan, read_marks, write_mark

Fields = dict[str, tuple[str, ...]]

DIGEST = "0123456789abcdef"
OURS = ["Rock", "Jazz", "Hip-Hop; Rap", "R&B/Soul", "Größe"]
THEIRS = ["rock", "JAZZ", "Blues", "Gro\u0308sse", "a; b", "{}", ""]


def wish(*values: str, field: str = "genre", task: str = "style") -> Wish:
    """Return a wish of the model `m`."""
    return Wish(task, field, values, "m", DIGEST)


def after(current: Mapping[str, Sequence[str]], made: Plan) -> Fields:
    """Return the fields of a file that a plan was written into."""
    changed = {name: tuple(values) for name, values in {**current, **made.fields}.items()}
    return {name: values for name, values in changed.items() if values}


def written(*wishes: Wish, existing: str = "keep", **current: Sequence[str]) -> Fields:
    """Return the fields of a file after one run."""
    return after(current, plan(current, wishes, existing))


def fold(values: Sequence[str]) -> set[str]:
    """Return values whatever their case, and whatever way an accent is written."""
    return {unicodedata.normalize("NFC", value).casefold() for value in values}


ours = st.lists(st.sampled_from(OURS), max_size=3)
theirs = st.lists(st.sampled_from(THEIRS), max_size=3)
how = st.sampled_from(EXISTING)


@st.composite
def histories(draw: st.DrawFn) -> Fields:
    """Draw a file with a past: runs in every way, and people who edit in between."""
    file: Fields = {}
    for _ in range(draw(st.integers(0, 4))):
        if draw(st.booleans()):
            file = written(*draw(wishes), existing=draw(how), **file)
        else:
            kept = [value for value in file.get("genre", ()) if draw(st.booleans())]
            file["genre"] = (*kept, *draw(theirs))
    return file


wishes = st.tuples(
    ours.map(lambda values: wish(*values)), ours.map(lambda values: wish(*values, task="mood"))
)


@given(histories(), wishes, how)
def test_a_second_run_finds_nothing_to_do(
    file: Fields, asked: tuple[Wish, ...], existing: str
) -> None:
    """A nightly run would rewrite the whole library every night."""
    once = written(*asked, existing=existing, **file)
    again = plan(once, asked, existing)
    assert again.fields == {}
    assert not any(edit.changes for edit in again.edits)


@given(histories(), wishes, st.sampled_from(["keep", "merge"]))
def test_values_of_others_are_never_lost(
    file: Fields, asked: tuple[Wish, ...], existing: str
) -> None:
    """A collector's own genres would be gone after a night."""
    once = written(*asked, existing=existing, **file)
    claimed = [value for mark in read_marks(file.get(MARK, ()))[0] for value in mark["values"]]
    human = [value for value in file.get("genre", ()) if value not in claimed]
    left = list(once.get("genre", ()))
    for value in human:
        assert value in left
        left.remove(value)


@given(histories(), wishes, how)
def test_what_is_no_longer_predicted_goes(
    file: Fields, asked: tuple[Wish, ...], existing: str
) -> None:
    """Tags of a model that was replaced would stay for ever, beside those of the new one."""
    once = written(*asked, existing=existing, **file)
    predicted = fold([value for one in asked for value in one.values])
    assert {
        v for v in once.get("genre", ()) if v in OURS and v.casefold() not in predicted
    } == set()


@given(theirs, ours)
def test_overwrite_leaves_what_is_predicted(human: list[str], values: list[str]) -> None:
    """--overwrite would leave some of what it was asked to replace, or empty what has no answer."""
    once = written(wish(*values), existing="overwrite", genre=human)
    if values:
        assert list(once["genre"]) == list(dict.fromkeys(values))
    else:
        assert list(once.get("genre", ())) == human


@given(theirs, ours)
def test_merge_adds_each_value_once(human: list[str], values: list[str]) -> None:
    """`rock` and `Rock` side by side are two genres in every player."""
    once = written(wish(*values), existing="merge", genre=human)
    genres = once.get("genre", ())
    assert list(genres[: len(human)]) == human
    added = genres[len(human) :]
    assert len(fold(added)) == len(added)
    assert not fold(added) & fold(human)
    assert fold(values) <= fold(genres)


@given(histories(), wishes, how, st.sampled_from(["; ", ";", "/", " / ", "\0", ", "]))
def test_a_mark_survives_programs_that_join_values(
    file: Fields, asked: tuple[Wish, ...], existing: str, between: str
) -> None:
    """After a tagger's rewrite of ID3v2.3 our own values would look like somebody else's."""
    once = written(*asked, existing=existing, **file)
    joined = {**once, MARK: (between.join(once.get(MARK, ())),)} if MARK in once else once
    assert plan(joined, asked, existing).fields == {}
    if between in (";", "/"):
        split = tuple(part for text in joined.get(MARK, ()) for part in text.split(between))
        assert split == once.get(MARK, ())


def test_a_mark_says_who_predicted_what() -> None:
    """A librarian could not find the files that a model which turned out bad has tagged."""
    file = written(wish("Rock"), wish("calm", field="mood", task="b.mood"))
    assert [json.loads(text) for text in file[MARK]] == [
        {"task": "style", "field": "genre", "model": "m", "digest": DIGEST[:12], "values": ["Rock"]},
        {"task": "b.mood", "field": "mood", "model": "m", "digest": DIGEST[:12], "values": ["calm"]},
    ]  # fmt: skip
    assert all(text.isascii() and not set(text) & set(";/") for text in file[MARK])


@pytest.mark.parametrize("existing", ["keep", "merge"])
def test_an_edited_value_is_its_editors(existing: str) -> None:
    """A person who corrects a tag would find it replaced, or the old one beside it, tomorrow."""
    file = written(wish("Rock"))
    file["genre"] = ("Rock & Roll",)
    assert written(wish("Rock"), existing=existing, **file) == file


def test_a_value_that_somebody_respelt_is_theirs() -> None:
    """The mark would go on claiming it: typed as we spelt it once more, it could be taken away."""
    file = written(wish("Rock"))
    file["genre"] = ("rock", "Pop")
    merged = written(wish("Rock", "Jazz"), existing="merge", **file)
    assert merged["genre"] == ("rock", "Pop", "Jazz")
    (mark,), _ = read_marks(merged[MARK])
    assert mark["values"] == ["Jazz"]


def test_a_removed_value_stays_away() -> None:
    """Each night would bring back the wrong tag that somebody deletes each day."""
    file = written(wish("Rock", "Jazz"))
    file["genre"] = ("Jazz",)
    for existing in ("keep", "merge"):
        made = plan(file, [wish("Rock", "Jazz")], existing)
        assert made.fields == {}
        assert [edit.reason for edit in made.edits] == ["declined"]
    more = written(wish("Rock", "Jazz", "Pop"), **file)
    assert more["genre"] == ("Jazz", "Pop")
    assert written(wish("Rock", "Jazz", "Pop"), **more) == more
    back = written(wish("Rock", "Jazz", "Pop"), existing="overwrite", **more)
    assert back["genre"] == ("Rock", "Jazz", "Pop")
    # The model changed its mind twice: what is predicted anew is written anew.
    other = written(wish("Jazz", "Folk"), **more)
    assert written(wish("Rock"), **other)["genre"] == ("Rock",)


def test_two_tasks_share_a_field() -> None:
    """The second --write into a field would replace what the first wrote."""
    asked = [wish("Rock", "Jazz", task="a.style"), wish("jazz", "Pop", task="b.style")]
    file = written(*asked)
    assert file["genre"] == ("Rock", "Jazz", "Pop")
    # Both predicted it: it stays when one of them does no more.
    assert written(asked[0], wish("Pop", task="b.style"), **file)["genre"] == file["genre"]
    assert written(wish("Rock", task="a.style"), asked[1], **file)["genre"] == (
        "Rock",
        "jazz",
        "Pop",
    )


def test_a_retrained_model_replaces_the_one_before() -> None:
    """Tags of a model that is no longer used would pile up in the field it shared."""
    file = written(wish("Rock", task="old"), wish("calm", field="mood", task="mood"))
    again = written(wish("Metal", task="new"), **file)
    assert again["genre"] == ("Metal",)
    assert again["mood"] == ("calm",)
    assert [json.loads(text)["task"] for text in again[MARK]] == ["mood", "new"]


def test_another_order_is_no_change() -> None:
    """Scores that change in the sixth digit would rewrite files whose tags are the same."""
    file = written(wish("Rock", "Jazz"))
    assert plan(file, [wish("Jazz", "Rock")], "keep").fields == {}


def test_a_new_digest_alone_is_no_change() -> None:
    """A retrained model that says the same of 100,000 files would rewrite them all."""
    file = written(wish("Rock"))
    other = Wish("style", "genre", ("Rock",), "m2", "f" * 16)
    assert plan(file, [other], "keep").fields == {}


def test_a_wish_that_somebody_fulfilled_is_not_ours() -> None:
    """The collector's own "Rock" would go when the model changes its mind."""
    file = written(wish("Rock"), genre=("Rock",))
    assert file == {"genre": ("Rock",)}
    assert written(wish("Jazz"), **file) == file


def test_nothing_is_left_of_us_when_nothing_is_predicted() -> None:
    """Withdrawn tags would leave an empty mark in every file."""
    file = written(wish("Rock"), title=("Song",))
    assert written(wish(), **file) == {"title": ("Song",)}


@pytest.mark.parametrize(
    "text",
    ["", "hello", "{", "[]", "null", '{"values": 3}', '{"task": 1, "values": []}', "[" * 100_000,
     '{"task":"t","field":"f","model":"m","digest":"d","values":["a"]} and more'],
)  # fmt: skip
def test_a_garbled_mark_is_left_alone(text: str) -> None:
    """A file with a broken or foreign field of our name could not be tagged, or lost it."""
    file = written(wish("Rock"), MT_TOOLS=(text,), genre=())
    assert file["genre"] == ("Rock",)
    assert file[MARK][0] == text
    assert len(file[MARK]) == 2
    assert plan(file, [wish("Rock")], "keep").fields == {}


@given(st.text(), st.text(), st.lists(st.text()))
def test_marks_hold_any_text(task: str, field: str, values: list[str]) -> None:
    """A tag in another script, or with quotes in it, would be forgotten to be ours."""
    mark = {"task": task, "field": field, "model": "m", "digest": "d", "values": values}
    assert read_marks([write_mark(mark)]) == ([mark], [])


@pytest.mark.parametrize(
    ("existing", "before", "values", "said"),
    [
        ("keep", [], ["Rock", "Pop"], "genre: + Rock; Pop"),
        ("keep", ["Folk"], ["Rock"], "genre: Folk kept, Rock not written (--overwrite or --merge)"),
        ("merge", ["Folk"], ["Rock"], "genre: Folk -> Folk; Rock"),
        ("overwrite", ["Folk"], ["Rock"], "genre: Folk -> Rock (overwritten)"),
        (
            "keep",
            ["x" * 100],
            ["Rock"],
            f"genre: {'x' * 59}… kept, Rock not written (--overwrite or --merge)",
        ),
    ],
)
def test_an_edit_reads_as_a_sentence(
    existing: str, before: list[str], values: list[str], said: str
) -> None:
    """The plan is what a person decides by before --apply: it must say what will be."""
    assert plan({"genre": before}, [wish(*values)], existing).lines == [said]


def test_edits_of_our_own_values_read_as_sentences() -> None:
    """Of values that go or were declined a plan would say nothing, or the wrong thing."""
    file = written(wish("Rock", "Pop"))
    assert plan(file, [wish("Rock")], "keep").lines == ["genre: - Pop"]
    assert plan(file, [wish("Rock", "Folk")], "keep").lines == ["genre: Rock; Pop -> Rock; Folk"]
    assert plan(file, [wish("Rock", "Pop")], "keep").lines == []
    file["genre"] = ("Rock",)
    made = plan(file, [wish("Rock", "Pop")], "keep")
    assert made.lines == ["genre: Pop was removed by somebody and not written again (--overwrite)"]
    assert line(made.edits[0]) == made.lines[0]
