from torch.distributed import ProcessGroup

class ProcessGroupCollection:
    pp: ProcessGroup
    dp_cp: ProcessGroup
