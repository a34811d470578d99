"""Encoders read from checkpoints, to score and to sample with."""

import torch

from d2plm_megatron.checkpoint import tensors
from d2plm_megatron.config import Parallel
from d2plm_megatron.model import backend
from d2plm_megatron.model.encoder import Encoder, transformer_config
from d2plm_megatron.model.sharding import slices_by_parameter
from d2plm_megatron.runs.checkpoint import Checkpoint


def load_encoder(checkpoint: Checkpoint, group: str, precision: str, device: torch.device) -> Encoder:
    """The encoder of a checkpoint, ready to be called, in the layout of the present processes.

    Args:
        checkpoint: of any layout.
        group: EMA for the moving average, RAW for the weights as trained.
        precision: bf16 or fp32, to compute in.
        device: to compute on.

    Raises ValueError when the checkpoint is damaged or does not hold the group.
    """
    checkpoint.check_whole()
    model = checkpoint.recipe.model
    backend_name = backend.choose("auto", precision)  # whatever it was trained with
    encoder = Encoder(model, transformer_config(model, Parallel(), precision, backend_name), backend_name).to(device)
    parameters = dict(encoder.named_parameters())
    whole = {name: torch.empty(parameter.numel()) for name, parameter in parameters.items()}
    boxed = [
        (box, whole[name][box.start : box.stop].view(box.shape))
        for name, boxes in slices_by_parameter(encoder).items()
        for box in boxes
    ]
    tensors.load(checkpoint.path, {group: boxed})
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(whole[name].view(parameter.shape))
    return encoder.eval().requires_grad_(False)
