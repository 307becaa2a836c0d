"""Calls: the checks of arrays against a formula, executors, derivatives, and reports on a call."""
