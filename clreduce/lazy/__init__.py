"""`LazyTensor`: formulas recorded from NumPy-like expressions, evaluated when they are reduced."""
