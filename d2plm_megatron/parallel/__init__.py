"""How processes are started and grouped, with GPUs and without."""

from d2plm_megatron.parallel import quiet_megatron as quiet_megatron
