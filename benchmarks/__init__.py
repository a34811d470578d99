"""Each prints a table against a peer, measured in one run."""

from d2plm_megatron import parallel as parallel  # before anything else imports Megatron, whose warnings it silences
