"""Each proves a claim of the project by trying it, and prints what it found. Tests use the smaller ones."""

from d2plm_megatron.parallel import (
    megatron as megatron,  # before anything else imports Megatron, whose warnings it silences
)
