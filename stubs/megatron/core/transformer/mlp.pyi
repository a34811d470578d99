from dataclasses import dataclass

import torch

@dataclass(kw_only=True)
class MLPSubmodules:
    linear_fc1: type = ...
    linear_fc2: type = ...

class MLP(torch.nn.Module): ...
