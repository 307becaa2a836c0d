"""Types of arguments, for argparse."""

from __future__ import annotations

import argparse
import math

from clreduce.errors import DeviceError
from clreduce.runtime.device import Device
from clreduce.runtime.devices import current_device, devices, select


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
        raise argparse.ArgumentTypeError(f"a positive number of seconds is needed; got {text!r}")
    return seconds


def chosen_device(selector: str | None) -> Device:
    """The device that a selector names, or the one in use; a wrong selector is a wrong argument."""
    if selector is None:
        return current_device()
    devices()  # that there is none is not the argument's fault
    try:
        return select(selector)
    except DeviceError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
