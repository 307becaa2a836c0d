"""The formula language: the parser, aliases and the vocabulary."""
