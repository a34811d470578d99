"""WHERE it runs: here, on Slurm, in containers. Only executors.py knows nemo_run.

New here: a kind of cluster, a task, a plugin.
"""
