"""What a run keeps on disk, and what can be told from it without torch or Megatron.

New here: a file that a run leaves.
"""
