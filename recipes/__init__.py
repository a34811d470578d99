"""Which run: a file per recipe, run by python and torchrun. A variant names its parent and the lines that change."""
