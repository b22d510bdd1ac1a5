"""The command line: `glidemq-supervisor [check] [module:app] [options]`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from glidemq.config import LoadedConfig, RuntimeConfig, load_runtime_config
from glidemq.errors import ConfigurationError, GlideMQError
from glidemq.process_spec import EXIT_OK, EXIT_USAGE
from glidemq_supervisor import logging_setup
from glidemq_supervisor.check import run_check
from glidemq_supervisor.supervisor import Supervisor

EXIT_INTERRUPTED = 128 + signal.SIGINT  # what shells expect

_DESCRIPTION = """\
Runs the processors of an app in one process per core, and keeps them running.

Signals: SIGTERM, SIGINT finish what runs and exit (a second one: at once, as SIGQUIT); SIGHUP reloads the
app, one process at a time; SIGTTIN, SIGTTOU add and remove an actor process; SIGUSR1 logs a table of all."""

_EPILOG = """\
Every option is also a variable (GLIDEMQ_DRAIN_TIMEOUT for --drain-timeout) and a key of [tool.glidemq] in
the nearest pyproject.toml (drain_timeout). Durations are seconds, or 500ms, 20m, 1h; sizes are bytes, or
512MiB, 2GB.
`glidemq-supervisor check` shows what would run, and exits."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script and of `python -m glidemq_supervisor`; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    checks_only = given[:1] == ["check"]
    options = build_parser().parse_args(given[1:] if checks_only else given)
    early = logging_setup.hold_log_lines()
    try:
        loaded = load_runtime_config(_settings_in(options))
        logging_setup.set_up_logging(loaded.config.log_format, loaded.config.log_level)
        if options.print_config:
            _print(loaded.format_table())
            return EXIT_OK
        _require_app(loaded.config)
        early.let_go()
        for warning in loaded.warnings:
            logging.getLogger("glidemq.supervisor").warning("%s", warning)
        return _check(loaded) if checks_only else Supervisor(loaded.config).run()
    except GlideMQError as error:
        for line in str(error).splitlines():
            print(f"glidemq-supervisor: {logging_setup.redact(line)}", file=sys.stderr)  # noqa: T201
        return EXIT_USAGE
    except KeyboardInterrupt:  # only outside of the supervisor's own handlers
        return EXIT_INTERRUPTED


def build_parser() -> argparse.ArgumentParser:
    """The options. None has a default here: what is not given comes from elsewhere, or from RuntimeConfig."""
    parser = _Parser(
        prog="glidemq-supervisor",
        usage="glidemq-supervisor [check] [module:app] [options]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("app", nargs="?", metavar="module:app", help="the App to serve (also GLIDEMQ_APP)")
    add = parser.add_argument
    add(
        "--procs",
        metavar="N",
        help="actor processes, or auto: one per core that this process may use (default)",
    )
    add(
        "--pool",
        metavar="NAME=N,…",
        help="actor processes of the app's pools, such as fast=2,slow=auto; 0: not on this host (default: the "
        "app's own, or --procs)",
    )
    add("--max-procs", metavar="N", help="slots kept for SIGTTIN (default: twice --procs)")
    add("--cells", metavar="N", help="gateways, or auto: one per NUMA node (default), or per-core")
    add("--pin", action="store_true", default=None, help="give each actor process a core of its own")
    add(
        "--preload", action="store_true", default=None, help="import the app once and fork the actors from it"
    )
    add(
        "--url",
        metavar="URL",
        help="the server, without a password (default: GLIDEMQ_URL, else an embedded server)",
    )
    add(
        "--drain-timeout",
        metavar="SECONDS",
        help="how long running jobs may take to finish at SIGTERM (default 30)",
    )
    add("--kill-grace", metavar="SECONDS", help="between asking a process to end and killing it (default 5)")
    add(
        "--start-timeout",
        metavar="SECONDS",
        help="how long importing the app and connecting may take (default 60)",
    )
    add("--max-jobs", metavar="N", help="replace an actor process after so many jobs")
    add("--max-age", metavar="SECONDS", help="replace an actor process after so long")
    add("--max-rss", metavar="BYTES", help="replace an actor process that has grown so large")
    add("--log-format", metavar="FORMAT", help="text (default) or json")
    add("--log-level", metavar="LEVEL", help="debug, info (default), warning or error")
    add("--print-config", action="store_true", help="print every setting and where it comes from, and exit")
    add("--version", action=_ShowVersion, nargs=0, help="print the version, and exit")
    return parser


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the options, instead of repeating all of them."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message}; --help shows what there is\n")


class _ShowVersion(argparse.Action):
    """`--version`; reads the metadata only when asked, as that takes long."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        _print(f"glidemq {version('glidemq')}")
        parser.exit(EXIT_OK)


def _settings_in(options: argparse.Namespace) -> dict[str, Any]:
    no_settings = ("print_config", "version")
    return {name: value for name, value in vars(options).items() if name not in no_settings}


def _require_app(config: RuntimeConfig) -> None:
    if config.app is None:
        raise ConfigurationError(
            "no app to serve: give module:app, or set GLIDEMQ_APP, or app in [tool.glidemq] of pyproject.toml"
        )


def _check(loaded: LoadedConfig) -> int:
    status, report = run_check(loaded.config)
    _print(loaded.format_table())
    _print(report)
    return status


def _print(text: str) -> None:
    print(logging_setup.redact(text))  # noqa: T201 - what was asked for goes to standard output


if __name__ == "__main__":
    sys.exit(main())
