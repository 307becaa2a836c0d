"""Show, clear or prune the cache folder.

It keeps built kernels, tuned schedules, and what was learned about devices.
All of it is made again when it is needed. Only files that clreduce wrote are
removed. The variable CLREDUCE_CACHE_FOLDER names another folder.
"""

from __future__ import annotations

import argparse
import json

from clreduce.cache import cache_folder, clear, prune, usage
from clreduce.cli.arguments import byte_count
from clreduce.health.layout import bytes_text, table

SUMMARY = "show, clear or prune what is kept on disk"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    show = actions.add_parser("show", help="show the folder and what is in it", description="Show what is kept.")
    show.add_argument("--json", action="store_true", help="print one JSON object (docs/command.md names its keys)")
    clearing = actions.add_parser(
        "clear", help="remove everything, or one kind of entry", description="Remove everything, or one kind of entry."
    )
    clearing.add_argument(
        "--kind",
        metavar="KIND",
        help="remove entries of this kind only, such as 'programs' (see `clreduce cache show`)",
    )
    pruning = actions.add_parser(
        "prune",
        help="remove what was not used for the longest time",
        description="Remove what was not used for the longest time, until the rest is small enough.",
    )
    pruning.add_argument(
        "--max-bytes",
        metavar="SIZE",
        type=byte_count,
        default=byte_count("100M"),
        help="what may stay, such as 500000, 100M or 1.5GiB (default: 100M)",
    )


def run(options: argparse.Namespace) -> int:
    """0, even if the folder is empty."""
    if options.action == "show":
        _show(options.json)
    elif options.action == "prune":
        _say_removed(*prune(options.max_bytes))
    else:
        kinds = [kind for kind, _, _ in usage()]
        if options.kind is not None and options.kind not in kinds:
            raise argparse.ArgumentTypeError(
                f"the cache has no entries of the kind {options.kind!r}; it has {', '.join(kinds) or 'no entries'}"
            )
        _say_removed(*clear(options.kind))
    return 0


def _show(as_json: bool) -> None:
    folder, kinds = cache_folder(), usage()
    if as_json:
        entries = [{"kind": kind, "entries": count, "bytes": size} for kind, count, size in kinds]
        print(json.dumps({"schema": 1, "path": None if folder is None else str(folder), "kinds": entries}, indent=1))
        return
    if folder is None:
        print("Nothing is kept: CLREDUCE_CACHE_FOLDER is set to nothing, or there is no home folder.")
        return
    print(folder)
    rows = [["kind", "entries", "size"], *([kind, str(count), bytes_text(size)] for kind, count, size in kinds)]
    total = ["total", str(sum(count for _, count, _ in kinds)), bytes_text(sum(size for _, _, size in kinds))]
    print(table([*rows, total], right=(1, 2)))


def _say_removed(count: int, size: int) -> None:
    print(f"removed {count} {'entry' if count == 1 else 'entries'}, {bytes_text(size)}")
