"""Linear systems of kernel operators: iterations, preconditioners, and `KernelSolve`."""
