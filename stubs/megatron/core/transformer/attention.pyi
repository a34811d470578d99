from dataclasses import dataclass

import torch

@dataclass(kw_only=True)
class SelfAttentionSubmodules:
    linear_qkv: type
    core_attention: type
    linear_proj: type = ...

class SelfAttention(torch.nn.Module): ...
