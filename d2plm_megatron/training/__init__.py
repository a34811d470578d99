"""Training: the engine (encoder, optimizer, EMA), the step, the loop, what is written and shown.

New here: what happens in a step or between two of them.
"""
