"""Which run: one file per recipe, executable by python and torchrun. A variant is its parent plus changed lines."""
