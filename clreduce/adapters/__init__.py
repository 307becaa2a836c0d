"""One file per array library: how its arrays reach a kernel and how results go back."""
