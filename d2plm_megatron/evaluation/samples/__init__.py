"""How generated proteins compare with real ones. Neither torch nor Megatron is needed here.

New here: a measure of generated proteins.
"""
