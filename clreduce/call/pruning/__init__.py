"""Calls that skip blocks of pairs whose terms provably do not matter.

Rows and columns are sorted into blocks of near points (`clreduce.partition`), and a kernel bounds the terms of each
pair of blocks (`clreduce.intervals`). What may be skipped then, says the reduction (`Reduction.skips`). Pairs of blocks
that remain are the ranges of a block-sparse call, which any executor runs.
"""
