"""Training: the engine (encoder, optimizer, average), the step, the loop, what is written and shown."""

from d2plm_megatron.parallel import megatron as megatron
