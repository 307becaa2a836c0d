"""Calls that skip blocks of pairs whose terms provably do not matter.

Rows and columns are sorted into blocks of near points (`clreduce.partition`), and a kernel bounds the terms of each
pair of blocks (`clreduce.intervals`). The reduction says which terms may be skipped (`Reduction.skips`). The pairs of
blocks that remain are the ranges of a block-sparse call, which any executor runs.
"""
