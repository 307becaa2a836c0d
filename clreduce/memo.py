"""What was found once and is needed again."""

from __future__ import annotations

from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")
_MOST = 64


class Memo(dict[Key, Value]):
    """Values by key. They are all forgotten when there are too many: looking one up must cost next to nothing."""

    def keep(self, key: Key, value: Value) -> Value:
        """``value``, which is found under ``key`` from now on."""
        if len(self) >= _MOST:
            self.clear()
        self[key] = value
        return value
