"""The formula language: text, its aliases and its vocabulary, read into expressions."""
