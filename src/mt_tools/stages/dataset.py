"""A data set by name: brought to its folder, checked there, and read as a table of tracks.

Names with a prefix (`mirdata:NAME`, `hf:REPO`) are those of others' collections.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mt_tools.datasets.declaration import Dataset
from mt_tools.datasets.index import chosen, read
from mt_tools.datasets.registry import dataset
from mt_tools.datasets.rows import AUDIO
from mt_tools.datasets.store import STATE, Item, Store, data_folder, name_of, readable
from mt_tools.datasets.verify import verify as verify_store
from mt_tools.errors import RowError, UsageError
from mt_tools.sound.paths import path_to_text, text_to_path
from mt_tools.stages.settings import DatasetSettings
from mt_tools.tables.batch import Batch

Say = Callable[[str], None]
Fail = Callable[[dict[str, Any], RowError], None]


def run(settings: DatasetSettings, *, show: bool, say: Say, fail: Fail) -> Iterator[Batch]:
    """Bring what is missing of a data set; then its tracks come, those without their audio fail.

    Names of sets and splits are checked before anything is downloaded. `show` draws a bar, `say`
    takes notes. Raises `UsageError` for a name that does not exist, or for a data set whose files
    have to be got by hand, saying how; and as `Store.bring` does.
    """
    check(settings)
    if is_foreign(settings.name):
        from mt_tools.datasets.foreign import rows

        folder = given_folder(settings)
        return heard(rows(settings.name, folder, settings.set_, settings.split, say), (), fail)
    data = dataset(settings.name)
    set_, split = chosen(data, settings.set_, settings.split)
    store = Store(data, folder_of(settings), set_)
    if not settings.from_:
        if not store.remotes:
            raise UsageError(by_hand(settings, data))
        bring(store, settings, show=show, say=say)
    lost = [name for name in store.lost() if name.lower().endswith(AUDIO)]
    paths = [path_to_text(os.path.join(store.folder, name)) for name in lost]
    return heard(read(data, store.folder, set_, split), paths, fail)


def bring(store: Store, settings: DatasetSettings, *, show: bool, say: Say) -> None:
    """Download and unpack what is missing, having said under what terms it is given."""
    if store.is_whole():
        return
    data = store.data
    say(f"{data.title}; licence: {data.licence}; please cite: {data.citation}")
    store.bring(
        settings.mirror or None,
        connections=settings.connections,
        keep=settings.keep,
        show=show,
        say=say,
    )
    if data.by_hand:
        say(f"not everything can be downloaded: {data.by_hand}")


def provenance(settings: DatasetSettings) -> dict[str, Any]:
    """Return what the table was made of: the set, the split, and the files by their checksums."""
    if is_foreign(settings.name):
        return {"name": settings.name, "set": settings.set_, "split": settings.split}
    data = dataset(settings.name)
    set_, split = chosen(data, settings.set_, settings.split)
    made = {"name": data.name, "set": set_, "split": split}
    if settings.from_:
        return made
    store = Store(data, folder_of(settings), set_)
    return made | {"files": {name_of(r): store.checksum(r) for r in store.remotes}}


def heard(batches: Iterable[Batch], lost: Iterable[str], fail: Fail) -> Iterator[Batch]:
    """Yield the rows whose audio is in its place, or that have none; the others have failed.

    `lost` are paths of files that were once unpacked and are gone: where the data set's labels are
    the names of its files, nothing else tells of them.
    """
    gone = dict.fromkeys(lost)
    for batch in batches:
        kept = []
        for row, path in enumerate(batch.get("path")):
            if path is None or os.path.exists(text_to_path(path)):
                kept.append(row)
                continue
            gone.pop(path, None)
            _absent(batch.ids[row], path, fail)
        yield batch if len(kept) == len(batch) else batch.take(kept)
    for path in gone:
        _absent(path, path, fail)


def _absent(id_: str, path: str, fail: Fail) -> None:
    fail({"id": id_, "path": path}, RowError(f"published, and not here: {path}", "missing"))


def verify(settings: DatasetSettings, *, show: bool) -> Iterator[str]:
    """Yield a line for all that is wrong in the folder of a data set."""
    check(settings)
    if is_foreign(settings.name):
        raise UsageError(
            f"--verify: what {settings.name} should hold is not declared here; leave it out"
        )
    data = dataset(settings.name)
    set_, _ = chosen(data, settings.set_, settings.split)
    return verify_store(Store(data, folder_of(settings), set_ if settings.set_ else ""), show)


def mend(settings: DatasetSettings, wrong: int) -> str:
    """Say what to do about what `verify` found."""
    folder = folder_of(settings)
    return (
        f"{wrong} files are not as they should be: delete those that changed and, for what was "
        f"unpacked, the list of its archive in {folder / STATE}, then run again without --verify"
    )


def plan(settings: DatasetSettings) -> Iterator[str]:
    """Yield lines that say what a data set is, what of it is here, and what would be done."""
    check(settings)
    if is_foreign(settings.name):
        raise UsageError(f"--dry-run: nothing of {settings.name} is declared here; leave it out")
    data = dataset(settings.name)
    set_, _ = chosen(data, settings.set_, settings.split)
    folder = folder_of(settings)
    store = Store(data, folder, set_)
    yield f"{data.name}: {data.title}"
    yield f"home: {data.home}"
    yield f"licence: {data.licence}"
    yield f"cite: {data.citation}"
    yield f"folder: {folder}"
    if data.by_hand:
        yield f"by hand: {data.by_hand}"
    items = store.items(settings.mirror or None)
    for item in items:
        yield _line(item)
    missing = [item for item in items if item.state in ("missing", "part")]
    archives = [item for item in items if item.state != "unpacked" and item.below is not None]
    coming = sum(max(0, item.size - item.has) for item in missing)
    begun = any(item.has for item in missing) and coming
    yield f"total: {_sum(items)}"
    yield f"to download: {_sum(missing)}" + (f", {readable(coming)} to come" if begun else "")
    if archives:
        yield f"to unpack: {_sum(archives)}, which takes at least as much room again"
    yield f"free: {readable(_free(folder))}"


def _line(item: Item) -> str:
    state = item.state
    if state == "part":
        state = f"part ({readable(item.has)})"
    size = readable(item.size) if item.size else "unknown"
    unpacked = "" if item.below is None else f", unpacked into {item.below}"
    return f"{state:<10} {size:>10}  {item.name}  from {' or '.join(item.addresses)}{unpacked}"


def _sum(items: Sequence[Item]) -> str:
    size = sum(item.size for item in items)
    unknown = sum(not item.size for item in items)
    files = "1 file" if len(items) == 1 else f"{len(items)} files"
    known = f", {readable(size)}" if size or not unknown else ""
    return files + known + (f", {unknown} of unknown size" if unknown else "")


def _free(folder: Path) -> int:
    """Return the free bytes of the disk that a folder is on, or will be."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


# --- names and folders ---------------------------------------------------------------------------


def check(settings: DatasetSettings) -> None:
    """Raise `UsageError` for options that contradict each other."""
    if settings.to and settings.from_:
        raise UsageError(
            "--to and --from: the first is where to download to, the second where the data set is "
            "already; give one of them"
        )
    if settings.verify and settings.dry_run:
        raise UsageError("--verify and --dry-run: give one of them")


def is_foreign(name: str) -> bool:
    """Say whether a name is one of another collection."""
    return name.startswith(("mirdata:", "hf:"))


def given_folder(settings: DatasetSettings) -> Path | None:
    """Return the folder that was named, if any."""
    given = settings.from_ or settings.to
    return Path(given) if given else None


def folder_of(settings: DatasetSettings) -> Path:
    """Return the folder of a data set: the one that was named, else the usual one."""
    return given_folder(settings) or data_folder(settings.name)


def by_hand(settings: DatasetSettings, data: Dataset) -> str:
    """Say what to do for a data set that cannot be downloaded, and what to type then."""
    place = settings.to or f"~/{data.name}"
    line = f"mt-fetch dataset {data.name} --from {place} -o {data.name}.parquet"
    text = data.by_hand.rstrip(". ") or f"see {data.home}"
    return f"{data.name} has to be got by hand: {text}. Then type: {line}"
