"""How a command is declared and run: options from settings, signals, errors, exit codes.

A command is a function that takes settings dataclasses and returns an exit code. `declare` gives
it to typer, an option a field, so that help, man page, completion, `--config` and provenance all
come from the one definition.
"""

from __future__ import annotations

import dataclasses
import difflib
import gc
import inspect
import os
import signal
import sys
import tomllib
import traceback
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NoReturn, get_type_hints

import typer

from mt_tools.errors import EXIT_FAILED, EXIT_OK, EXIT_USAGE, RunError, UsageError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asks the run to end; raised in the main thread so that everything cleans up."""

    def __init__(self, number: int) -> None:
        self.number = number


def make_app(doc: str) -> typer.Typer:
    """Return a typer app whose help is `doc`."""
    return typer.Typer(
        help=doc,
        no_args_is_help=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        add_completion=True,
    )


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Marks the positional inputs of a command."""

    help: str
    metavar: str = "INPUT"


@dataclasses.dataclass(frozen=True)
class Config:
    """What `--config` holds beside options, for a command that asks for it.

    `sections` are its tables by name, such as `grid`; `typed` are the options of the command line,
    as a file spells them; `arguments` returns what the command is called with when some options
    have other values, which are checked as in a file, and what was typed still wins.
    """

    sections: dict[str, Any]
    typed: frozenset[str]
    arguments: Callable[[Mapping[str, Any], str], dict[str, Any]]


def declare(
    app: typer.Typer,
    name: str,
    *,
    inputs: Inputs | None = None,
    examples: list[tuple[str, str]],
    optional: tuple[type, ...] = (),
    hide: tuple[str, ...] = (),
    sections: tuple[str, ...] = (),
    notes: str = "",
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Register a command function, whose parameters are annotated with settings dataclasses.

    `inputs` describes its positional parameter `inputs: list[str]`. The settings classes in
    `optional` are passed as a dict of only what was given, for commands where a preset or a model
    supplies the rest. `examples` are (command line, what it does) and end the help. `hide` names
    fields that are no options of this command. `sections` names tables that its own table in
    `--config` may hold beside options; a parameter of type `Config` then gets them.
    """

    def register(function: Callable[..., int]) -> Callable[..., int]:
        hints = get_type_hints(function)
        groups: dict[str, type] = {}
        parameters: list[inspect.Parameter] = []
        owners: dict[str, str] = {}
        for parameter in inspect.signature(function).parameters:
            if parameter == "inputs":
                assert inputs is not None
                parameters.append(_positional(inputs))
                continue
            if hints[parameter] is Config:
                continue
            group = groups[parameter] = hints[parameter]
            types_ = get_type_hints(group)
            for field in dataclasses.fields(group):
                if field.name in hide:
                    continue
                parameters.append(_option(field, types_[field.name], group in optional))
                owners[field.name] = parameter
        parameters.append(_config_option())
        parameters.append(_version_option())

        asks = [parameter for parameter, hint in hints.items() if hint is Config]

        def call(values: dict[str, Any]) -> dict[str, Any]:
            """Return the arguments of the function for values of the options."""
            calls: dict[str, dict[str, Any]] = {parameter: {} for parameter in groups}
            for key, value in values.items():
                if key in owners:
                    calls[owners[key]][key] = tuple(value) if isinstance(value, list) else value
            arguments: dict[str, Any] = {}
            for parameter, group in groups.items():
                given = {k: v for k, v in calls[parameter].items() if v is not None}
                arguments[parameter] = given if group in optional else group(**given)
            if "inputs" in values:
                arguments["inputs"] = list(values["inputs"] or [])
            return arguments

        def run(**values: Any) -> int:
            file: _File = values.pop("config")
            values.pop("version")
            arguments = call(values)
            for parameter in asks:
                arguments[parameter] = Config(
                    file.sections,
                    file.typed,
                    lambda options, where: call(values | file.checked(options, where)),
                )
            try:
                return function(**arguments)
            except BrokenPipeError as error:  # which typer would turn into exit code 1
                raise Interrupted(signal.SIGPIPE) from error

        run.examples, run.notes = examples, notes  # type: ignore[attr-defined]  # for the man page
        run.sections = sections  # type: ignore[attr-defined]
        run.__name__ = function.__name__
        run.__doc__ = function.__doc__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        epilog = "\n\n".join(
            [notes] * bool(notes)
            + ["Examples:"]
            + [f"$ {line}\n  {what}" for line, what in examples]
        )
        app.command(name, epilog=_escaped(epilog), help=_paragraphs(function))(run)
        return function

    return register


def _paragraphs(function: Callable[..., int]) -> str:
    """Return a docstring for the help: lines of a paragraph joined, to wrap as the screen does."""
    text = inspect.getdoc(function) or ""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _escaped(text: str) -> str:
    """Keep rich from reading shell brackets as markup."""
    return text.replace("[", "\\[")


def _positional(inputs: Inputs) -> inspect.Parameter:
    option = typer.Argument(help=inputs.help, metavar=inputs.metavar, show_default=False)
    return inspect.Parameter(
        "inputs",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[list[str] | None, option],
    )


def _option(field: dataclasses.Field[Any], type_: Any, optional: bool) -> inspect.Parameter:
    """Return the typer parameter of a settings field."""
    meta = field.metadata
    default = field.default
    if default is dataclasses.MISSING:
        assert field.default_factory is not dataclasses.MISSING
        default = field.default_factory()
    flags = meta["flags"] or (f"--{field.name.replace('_', '-')}",)
    annotation: Any = type_
    extra: dict[str, Any] = {}
    if type_ is bool and not meta["flags"]:
        # What a configuration file switched on can be switched off again where it matters.
        both = optional or default or meta["result"]
        flags = (f"{flags[0]}/--no-{flags[0][2:]}",) if both else flags
    if meta["choices"]:
        annotation = Literal[tuple(meta["choices"])]
    if field.name == "verbose":
        extra["count"] = True
    if isinstance(default, tuple | list):
        annotation = list[str]
        default = list(default) or None
    if meta["minimum"] is not None:
        extra["min"] = meta["minimum"]
    if meta["maximum"] is not None:
        extra["max"] = meta["maximum"]
    if optional or default == "":
        default = None
    if default is None:
        annotation = annotation | None if not isinstance(annotation, str) else annotation
    maker = typer.Argument if meta["argument"] else typer.Option
    declared = maker(
        *(() if meta["argument"] else flags),
        help=_escaped(meta["help"]),
        metavar=meta["metavar"],
        rich_help_panel=meta["panel"],
        show_default=default not in (None, False, 0, -1, "", "0"),  # those mean "not asked for"
        **extra,
    )
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=... if meta["argument"] and default is None else default,
        annotation=Annotated[annotation, declared],
    )


def _config_option() -> inspect.Parameter:
    option = typer.Option(
        "--config",
        help="Read options from this TOML file, table by command; the command line wins.",
        metavar="FILE.toml",
        is_eager=True,
        callback=_read_config,
        rich_help_panel="Run",
        show_default=False,
    )
    return inspect.Parameter(
        "config",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[str | None, option],
    )


@dataclasses.dataclass(frozen=True)
class _File:
    """The `--config` file of a run, read; also where none was given."""

    sections: dict[str, Any]
    context: typer.Context

    @property
    def typed(self) -> frozenset[str]:
        """The options that were typed on the command line, as a file spells them."""
        sources = {
            o: self.context.get_parameter_source(o.name) for o in self.context.command.params
        }
        return frozenset(
            _spelling(option)
            for option, source in sources.items()
            if source is not None and source.name == "COMMANDLINE"
        )

    def checked(self, table: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return options that a section sets, by parameter, without those that were typed."""
        options: dict[str, Any] = {option.name: option for option in self.context.command.params}
        return {
            name: options[name].process_value(self.context, entry)
            for name, entry in _entries(self.context, table, where).items()
            if _spelling(options[name]) not in self.typed
        }


def _read_config(context: typer.Context, value: str | None) -> Any:
    """Make a TOML table the defaults of the command it is named after."""
    if context.resilient_parsing:
        return value
    if value is None:
        return _File({}, context)
    try:
        with open(value, "rb") as file:
            tables: Any = tomllib.load(file)
    except OSError as error:
        raise UsageError(f"--config {value}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"--config {value}: not TOML: {error}") from error
    words = context.command_path.split()
    table = tables
    for depth, word in enumerate(words):
        group: Any = context.parent.command if context.parent else None
        known = list(group.commands) if depth else _commands()
        for key, entry in table.items():
            if key not in known or not isinstance(entry, dict):
                raise UsageError(
                    f"--config {value}: {'.'.join([*words[:depth], key])} is no table of a "
                    f"command; those are {', '.join(known)}"
                )
        table = table.get(word, {})
    names = getattr(context.command.callback, "sections", ())
    sections = {key: entry for key, entry in table.items() if key in names}
    options = {key: entry for key, entry in table.items() if key not in names}
    context.default_map = _entries(context, options, f"--config {value}: [{'.'.join(words)}]")
    return _File(sections, context)


def _entries(context: typer.Context, table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the options of a table by parameter; a wrong name or shape raises `UsageError`."""
    options: dict[str, Any] = {_spelling(option): option for option in context.command.params}
    found = {}
    for key, entry in table.items():
        option = options.get(key.replace("_", "-"))
        if option is None or option.name in ("config", "version", "help"):
            near = difflib.get_close_matches(key.replace("_", "-"), list(options), n=2)
            raise UsageError(
                f"{where} has {key!r}, which is no option of {context.command_path}; "
                + (f"did you mean {' or '.join(near)}? " if near else "")
                + f"see {context.command_path} --help"
            )
        several = option.nargs == -1 or getattr(option, "multiple", False)
        if isinstance(entry, dict) or (isinstance(entry, list) and not several):
            raise UsageError(f"{where} has {key} = {entry!r}: one value expected")
        found[option.name] = [entry] if several and not isinstance(entry, list) else entry
    return found


def _commands() -> list[str]:
    """Return the names of all commands."""
    from importlib.metadata import distribution

    scripts = distribution("mt-tools").entry_points.select(group="console_scripts")
    return sorted(script.name for script in scripts)


def _spelling(parameter: Any) -> str:
    """Return an option as a file says it: as on the command line, without dashes."""
    longest = max(parameter.opts, key=len)
    return str(longest).lstrip("-").replace("_", "-")


def _version_option() -> inspect.Parameter:
    option = typer.Option(
        "--version",
        help="Print the version and exit.",
        is_eager=True,
        callback=_print_version,
        rich_help_panel="Run",
    )
    return inspect.Parameter(
        "version", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option]
    )


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        print(f"mt-tools {version('mt-tools')}")
        raise typer.Exit(EXIT_OK)


def execute(app: typer.Typer, name: str) -> NoReturn:
    """Run a command as a process: signals, one-line errors, exit code."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup and `&` stay in force
            signal.signal(number, _interrupt)
    code = EXIT_FAILED
    try:
        code = typer.main.get_command(app).main(prog_name=name, standalone_mode=False) or EXIT_OK
        if sys.stdout is not None:  # `>&-` closed it
            sys.stdout.flush()
    except Interrupted as interrupted:
        _die(interrupted.number, interrupted)
    except BrokenPipeError as error:
        _die(signal.SIGPIPE, error)
    except RunError as error:
        code = error.exit_code
        _say(name, error)
    except typer.TyperException as error:
        code = EXIT_USAGE
        _say(name, error, f"; see {_path(name, error)} --help")
    except OSError as error:
        code = EXIT_FAILED  # of stdout too, once the work is done
        _say(name, error)
    except Exception as error:
        code = EXIT_FAILED
        _say(name, error, "; this is a defect: run again with -vv and report it")
    sys.stderr.flush()
    _let_go()
    gc.freeze()  # the last collections would look at every object of torch: a third of a second
    sys.exit(code)


def _let_go() -> None:
    """Drop what stdout would not take: Python would try it again at the end, and exit with 120."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _path(name: str, error: Any) -> str:
    context = getattr(error, "ctx", None)
    return context.command_path if context is not None else name


def _say(name: str, error: Exception, after: str = "") -> None:
    """Print a mistake on one line; with -vv where it comes from as well."""
    if verbosity() >= 2:
        traceback.print_exception(error)
    message = error.format_message() if isinstance(error, typer.TyperException) else str(error)
    if not isinstance(error, RunError | typer.TyperException | OSError):
        message = f"unexpected {type(error).__name__}: {message}"
    line = " ".join(message.split()).rstrip(".")
    print(f"{name}: {line}{after}", file=sys.stderr)


def verbosity() -> int:
    """Return how often -v was given; errors before the options are parsed need it too."""
    short = [a for a in sys.argv[1:] if a[:1] == "-" and a[:2] != "--" and set(a[1:]) <= {"v"}]
    return sum(len(a) - 1 for a in short) + sys.argv[1:].count("--verbose")


def _interrupt(number: int, frame: types.FrameType | None) -> NoReturn:
    for other in SIGNALS:  # a second signal while cleaning up must not tear the cleaning apart
        if signal.getsignal(other) == _interrupt:
            signal.signal(other, signal.SIG_IGN)
    raise Interrupted(number)


def _die(number: int, error: BaseException) -> NoReturn:
    """End as the signal would have ended us, so that shells and cron see the truth."""
    # What the frames hold, such as workers in the middle of a file, is closed before we go.
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__context__
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    raise AssertionError("the signal's default action ends the process")
