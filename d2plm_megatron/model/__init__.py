"""The encoder: Megatron's GPT model made bidirectional, on packed proteins, and all that it is built from."""

from d2plm_megatron.parallel import megatron as megatron
