"""Ctrl-C ends fine-tuning at once, as it ends other code, and no process goes on without its job."""

import os
import signal
import time

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import Callback

from taskbasis.parallel import process_context
from taskbasis.trainer import Compute, in_order, quiet_trainer


class Endless(LightningModule):
    """Trains on nothing until it is stopped."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_index):
        time.sleep(0.01)
        return self.weight.sum()

    validation_step = training_step

    def train_dataloader(self):
        return in_order(range(9))

    val_dataloader = train_dataloader

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Interrupt(Callback):
    """Does what Ctrl-C does, at the third batch."""

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index):
        if batch_index == 2:
            signal.raise_signal(signal.SIGINT)

    def on_validation_batch_end(self, trainer, module, outputs, batch, batch_index):
        self.on_train_batch_end(trainer, module, outputs, batch, batch_index)


class Register(Callback):
    """Leaves a file named by the process that trains, and touches it at every batch."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_batch_end(self, *_):
        (self.folder / str(os.getpid())).touch()


@pytest.fixture
def interruptible():
    """Ctrl-C as Python has it, which is off where a shell runs the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("method", ["fit", "validate"])
def test_ctrl_c_is_a_keyboard_interrupt_and_works_again(method, interruptible):
    trainer = quiet_trainer(max_epochs=1, callbacks=[Interrupt()])
    with pytest.raises(KeyboardInterrupt):
        getattr(trainer, method)(Endless())
    assert signal.getsignal(signal.SIGINT) is interruptible


def train_together(folder):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, interrupt)
    trainer = quiet_trainer(
        **Compute(devices=2).training_options(), max_epochs=-1, callbacks=[Register(folder)]
    )
    trainer.fit(Endless())


def interrupt(*_):
    raise KeyboardInterrupt


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this did not happen in time"
        time.sleep(0.05)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_of_several_devices_outlives_its_worker(sent, tmp_path):
    worker = process_context().Process(target=train_together, args=(tmp_path,))
    worker.start()
    try:
        wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
        ranks = [int(path.name) for path in tmp_path.iterdir()]
        assert worker.pid not in ranks
        os.kill(worker.pid, sent)
        worker.join(20)
        assert worker.exitcode not in (None, 0)
        wait_for(lambda: not any(map(alive, ranks)), seconds=5)
    finally:
        for pid in [worker.pid, *(int(path.name) for path in tmp_path.iterdir())]:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        worker.join()
