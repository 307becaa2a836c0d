"""What makes programs run that were written for pykeops."""
