"""Each prints a table against a peer, measured in one run."""

from d2plm_megatron.parallel import (
    megatron as megatron,  # before anything else imports Megatron, whose warnings it silences
)
