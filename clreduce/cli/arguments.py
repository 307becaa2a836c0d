"""Types of arguments, for argparse."""

from __future__ import annotations

import argparse
import math
import re

from clreduce.errors import DeviceError
from clreduce.runtime.device import Device
from clreduce.runtime.devices import current_device, devices, select

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def positive_seconds(text: str) -> float:
    """A time in seconds.

    >>> positive_seconds("1.5")
    1.5
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"the time must be a positive number of seconds; got {text!r}")
    return seconds


def byte_count(text: str) -> int:
    """A number of bytes, with a unit or without.

    >>> byte_count("500"), byte_count("100M"), byte_count("1.5 GiB"), byte_count("20 kB")
    (500, 100000000, 1610612736, 20000)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]i?|)b?\s*", text.lower())
    if match is None:
        raise argparse.ArgumentTypeError(
            f"the size must be a number of bytes, such as 500000, 100M or 1.5GiB; got {text!r}"
        )
    return int(float(match[1]) * _UNITS[match[2]])


def chosen_device(selector: str | None) -> Device:
    """The device that a selector names, or the one in use; a wrong selector is a wrong argument."""
    if selector is None:
        return current_device()
    devices()  # that there is none is not the argument's fault
    try:
        return select(selector)
    except DeviceError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
