"""Rules of bounds: how the bounds of an operation follow from those of its arguments.

A rule takes the node, the `Bounds` of its arguments, and its parameters. An operation names its rule in its
declaration.

A rule may rely on two facts: no end of an argument is nan, and after `Bounds.settled` no lower bound is inf and no
upper bound is -inf. It must ensure the same for its result. It must also count all rounding errors, those of the value
and those of the bound, and set ``nan`` wherever a value can be nan.
"""
