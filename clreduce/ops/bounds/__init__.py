"""Rules of bounds: how the bounds of an operation follow from those of its arguments.

A rule takes the node, the `Bounds` of its arguments, and its parameters. An operation names its rule in its
declaration.
It may rely on this: no end of an argument is nan, and after `Bounds.settled` no lower bound is inf and no upper one
-inf. It sees to this: the same of its result; all errors of rounding, those of a value and those of its bound, are
counted; and ``nan`` is set wherever a value can be nan.
"""
