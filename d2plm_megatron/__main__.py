"""python -m d2plm_megatron, which is also installed as `d2plm`: all commands. The first word names one."""

from d2plm_megatron.commandline.commands import main

if __name__ == "__main__":
    main()
