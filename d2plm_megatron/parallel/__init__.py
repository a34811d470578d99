"""How processes are started and grouped, with GPUs and without."""
