"""The first signal raises a flag, the second ends the process, and handlers are given back."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from geosemi.stop import stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_raises_the_flag(number):
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
        assert stop.signal == number
        assert stop.error("stopped", hint="go on").exit_code == 128 + number
    assert signal.getsignal(number) is before


def test_handlers_are_given_back_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyError), stop_on_signals():
        raise KeyError
    assert signal.getsignal(signal.SIGINT) is before


def test_a_block_inside_hears_what_was_said_before_it_began():
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as outer:
        with stop_on_signals() as first:
            assert not first
        os.kill(os.getpid(), signal.SIGTERM)
        with stop_on_signals() as second:
            assert second is outer
            assert second.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_are_left_alone():
    found = []

    def work():
        with stop_on_signals() as stop:
            found.append(bool(stop))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


def test_a_second_signal_ends_the_process():
    code = (
        "import os, signal\n"
        "from geosemi.stop import stop_on_signals\n"
        "with stop_on_signals() as stop:\n"
        "    os.kill(os.getpid(), signal.SIGINT); print('flag', bool(stop), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT); print('not reached', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "flag True\n"
    assert done.returncode == -signal.SIGINT
