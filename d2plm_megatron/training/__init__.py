"""Training: the engine (encoder, optimizer, average), the step, the loop, what is written and shown.

New here: what happens in a step or between two of them.
"""

from d2plm_megatron.parallel import megatron as megatron
