"""The parts of ``benchmarks/run.py``: what is computed, by whom, how it is measured, and how it is shown."""
