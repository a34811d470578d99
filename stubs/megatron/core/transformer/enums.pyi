from enum import Enum

class AttnMaskType(Enum):
    padding = ...
