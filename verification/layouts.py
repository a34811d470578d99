"""The layouts and objectives of the parity matrix: overrides of the tiny recipe, by the names in its table."""

ALONE = "one process"

LAYOUTS: dict[str, tuple[int, tuple[str, ...]]] = {
    ALONE: (1, ()),
    "DP2": (2, ("parallel.sharding=none",)),
    "DP2+optimizer": (2, ("parallel.sharding=optimizer",)),
    "DP2+FSDP": (2, ("parallel.sharding=parameters",)),
    "TP2": (2, ("parallel.tensor=2",)),
    "TP2+SP": (2, ("parallel.tensor=2", "parallel.sequence=true")),
    "PP2": (2, ("parallel.pipeline=2",)),
    "DP4+optimizer": (4, ("parallel.sharding=optimizer",)),
    "DP2xTP2+optimizer": (4, ("parallel.tensor=2", "parallel.sharding=optimizer")),
    "DP2xTP2+SP+optimizer": (4, ("parallel.tensor=2", "parallel.sequence=true", "parallel.sharding=optimizer")),
    "DP2xTP2+FSDP": (4, ("parallel.tensor=2", "parallel.sharding=parameters")),
    "DP2xPP2": (4, ("parallel.pipeline=2", "parallel.sharding=none")),
    "DP2xPP2+optimizer": (4, ("parallel.pipeline=2", "parallel.sharding=optimizer")),
    "TP2xPP2": (4, ("parallel.tensor=2", "parallel.pipeline=2")),
}
"""(number of processes, overrides). DP: data parallel, with the distributed optimizer or Megatron-FSDP where said.
TP: tensor, SP: sequence, PP: pipeline parallel."""

_FLOW = "objective=flow_matching"
_TIME = "model.time_conditioning=true"

OBJECTIVES: dict[str, tuple[str, ...]] = {
    "absorbing": ("objective=absorbing",),
    "absorbing+t": ("objective=absorbing", _TIME),
    "fm": (_FLOW,),
    "fm+t": (_FLOW, _TIME),
    "fm-uniform+t": (_FLOW, "objective.source=uniform", "objective.loss=generalised_kl", _TIME),
    "mlm": ("objective=mlm",),
    "mlm-esm2": (
        "objective=mlm",
        "model.head=esm",
        "model.bias=true",
        "model.activation=gelu",
        "model.normalization=layernorm",
    ),
}
"""With time conditioning where the name says +t: random residues as source need it, masked language modelling has no
time. The last has the parts that only ESM-2's encoder has: biases, LayerNorm, and a head tied to the embedding."""

PRECISIONS = ("fp32", "bf16")
