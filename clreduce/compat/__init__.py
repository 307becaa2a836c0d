"""The modules and functions of pykeops, for programs that were written for it."""
