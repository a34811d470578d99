"""Generative protein language models, trained on Megatron-core."""

__version__ = "0.1.0"
