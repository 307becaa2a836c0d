"""What `benchmarks/clients.py` runs: for each package that is written for pykeops, a generator of checks."""
