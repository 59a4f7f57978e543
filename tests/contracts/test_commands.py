"""What every command promises, whatever it does."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib

import pytest
from support import COMMANDS, ROOT, Shell

import mt_tools

SUBCOMMANDS = {
    "fetch": ("folder", "synth", "dataset", "weights", "join", "split", "describe", "list"),
    "factor": (
        "plsa", "lda", "kmeans", "explain", "bof", "agf", "gmm", "quantile", "pca", "same-track",
    ),
    "eval": (
        "score", "probe", "recommend", "compare", "design", "check", "noise", "thresholds", "plot",
        "report",
    ),
}  # fmt: skip
LINES = [f"mt-{name} {sub}".strip() for name in COMMANDS for sub in SUBCOMMANDS.get(name, ("",))]


def test_every_command_is_installed() -> None:
    """A command without an entry point does not exist for a user."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        scripts = tomllib.load(file)["project"]["scripts"]
    assert set(scripts) == {f"mt-{name}" for name in COMMANDS}


@pytest.mark.parametrize("line", LINES)
def test_help_ends_with_examples(sh: Shell, line: str) -> None:
    """Someone who asks for help would not learn what to type."""
    text = sh(f"{line} --help", ok=True).stdout.decode()
    usage, _, examples = text.partition("Examples:")
    assert line.split()[0] in usage
    assert f"$ {line.split()[0]}" in examples or "$ " in examples
    assert "Run" in usage  # the shared panels are there


@pytest.mark.parametrize("name", COMMANDS)
def test_help_imports_nothing_heavy(name: str) -> None:
    """An import of torch or numpy makes --help and completion slow (see bench/startup.py)."""
    code = (
        "import sys\n"
        f"from mt_tools.commands.{name} import main\n"
        f"sys.argv = ['mt-{name}', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'pyarrow', 'torch', 'scipy', 'sklearn', 'soundfile', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr.decode().strip() == "[]"


@pytest.mark.parametrize("line", LINES)
def test_a_wrong_option_is_one_line_and_2(sh: Shell, line: str) -> None:
    """A typing error would print a screen of usage, or look like a failure of the data."""
    done = sh(f"{line} --no-such-option")
    assert done.returncode == 2
    (message,) = done.stderr.decode().splitlines()
    assert message.startswith("mt-")
    assert "--no-such-option" in message
    assert "--help" in message
    assert done.stdout == b""


def test_version(sh: Shell) -> None:
    """A bug report could not say which version it is about."""
    assert sh("mt-tag --version", ok=True).stdout.startswith(b"mt-tools ")


def test_man_pages_are_those_of_the_commands() -> None:
    """A man page would describe options that do not exist."""
    script = ROOT / "man" / "build.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("name", COMMANDS)
def test_man_pages_are_installed(name: str) -> None:
    """`man mt-tag` would find nothing."""
    if "site-packages" not in os.path.abspath(mt_tools.__file__):
        pytest.skip("an editable install has no man pages: `make test` installs the wheel")
    assert os.path.isfile(os.path.join(sys.prefix, "share", "man", "man1", f"mt-{name}.1"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(sh: Shell, shell: str) -> None:
    """Tab would not complete options."""
    done = sh(f"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION=1 mt-tag --show-completion {shell}")
    assert done.returncode == 0
    assert b"mt-tag" in done.stdout or b"_MT_TAG_COMPLETE" in done.stdout
