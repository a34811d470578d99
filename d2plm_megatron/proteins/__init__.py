"""Proteins as letters: alphabet, FASTA, composition, alignment, MMseqs2. Neither torch nor Megatron is known here.

New here: a format of sequences, a comparison of sequences.
"""
