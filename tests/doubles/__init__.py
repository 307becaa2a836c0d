"""Modules that tests put in place of others, in processes that the library starts."""
