"""The command ``clreduce``, also ``python -m clreduce``: each subcommand is a module here.

A module has ``SUMMARY``, the line in the list of commands; ``add_arguments(parser)``; and ``run(options)``, which
prints and returns the exit status.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from clreduce.errors import ClreduceError
from clreduce.health.machine import version_of

COMMANDS = ("info", "selftest", "bench", "cache")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand, and return its exit status: 0, or 1 where something is wrong on this machine.

    Wrong arguments end with status 2, as argparse does; Ctrl-C with 130.

    >>> main(["--version"])
    Traceback (most recent call last):
    ...
    SystemExit: 0
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except argparse.ArgumentTypeError as error:  # an argument that only the command itself can judge
        options.parser.error(str(error))
        return 2
    except ClreduceError as error:
        print(f"clreduce: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stderr.close()
        return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser with all subcommands."""
    parser = argparse.ArgumentParser(
        prog="clreduce",
        description="What OpenCL offers clreduce on this machine, whether it computes right, and how fast it is.",
        epilog="clreduce COMMAND --help describes a command.",
    )
    parser.add_argument("--version", action="version", version=f"clreduce {version_of('clreduce') or '0+unknown'}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = import_module(f"clreduce.cli.{name}")
        command = commands.add_parser(name, help=module.SUMMARY, description=module.__doc__)
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        module.add_arguments(command)
        command.set_defaults(run=module.run, parser=command)
    return parser
