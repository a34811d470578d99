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

_ESM2 = (
    "objective=mlm",
    "model.head=esm",
    "model.bias=true",
    "model.activation=gelu",
    "model.normalization=layernorm",
)
_UNIFORM = (_FLOW, "objective.source=uniform", "objective.loss=generalised_kl", _TIME)

OBJECTIVES: dict[str, tuple[str, ...]] = {
    "absorbing": ("objective=absorbing",),
    "absorbing+t": ("objective=absorbing", _TIME),
    "fm": (_FLOW,),
    "fm+t": (_FLOW, _TIME),
    "fm-uniform+t": _UNIFORM,
    "fm-blosum+t": ("objective=metric_flow", "objective.loss=elbo", _TIME),
    "mlm": ("objective=mlm",),
    "mlm-esm2": _ESM2,
    "frozen": (*_UNIFORM, "train.trainable=!embedding.*"),
    "filtered": (*_ESM2, "train.trainable=decoder.layers.1.*"),
}
"""With time conditioning where the name says +t: random residues as source need it, masked language modelling has no
time. mlm-esm2 has the parts that only ESM-2's encoder has: biases, LayerNorm, and a head tied to the embedding. In
frozen the embedding does not train; in filtered nothing but the last layer does, so that a pipeline stage has nothing
to train."""

PRECISIONS = ("fp32", "bf16")
