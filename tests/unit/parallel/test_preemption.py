"""Signals are noted, the second Ctrl-C ends the process, and afterwards all is as it was."""

import os
import signal
import subprocess
import sys
import time

import pytest

from d2plm_megatron.parallel.preemption import SIGNALS, PreemptionHandler

LOOP = """
import time
from d2plm_megatron.parallel.preemption import PreemptionHandler
with PreemptionHandler() as interruption:
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
        if interruption.received:
            print("noted", interruption.received, flush=True)
            time.sleep({patience})
            break
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_is_noted_and_handlers_are_put_back(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with PreemptionHandler() as interruption:
        assert interruption.received == 0
        os.kill(os.getpid(), number)
        time.sleep(0.01)
        assert interruption.received == number
    assert [signal.getsignal(each) for each in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_what_one_process_has_received_all_agree_on(number: signal.Signals) -> None:
    with PreemptionHandler() as receiver, PreemptionHandler() as other:
        receiver.received = number
        raised = [any(flags) for flags in zip(receiver.flags(), other.flags(), strict=True)]
        for each in (receiver, other):
            assert each.agreed is None
            each.agree(raised)
            assert each.agreed is number
            each.agree([False] * len(SIGNALS))
            assert each.agreed is None


def test_second_ctrl_c_ends_at_once() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LOOP.format(patience=60)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == f"noted {signal.SIGINT.value}\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert said == "\nsaving, then stopping; Ctrl-C once more stops at once\n"


def test_handlers_need_neither_torch_nor_numpy() -> None:
    """They are there before what takes seconds to import."""
    code = "import sys, d2plm_megatron.parallel.preemption; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_end_of_an_interrupted_run_outlives_the_launchers_impatience() -> None:
    code = """
import os, signal, atexit
from d2plm_megatron.parallel.preemption import end_interrupted
atexit.register(lambda: os.kill(os.getpid(), signal.SIGTERM))
end_interrupted()
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 75
