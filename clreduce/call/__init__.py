"""Calls: arrays checked against a formula, what then runs, its derivatives, and what is told of it."""
