"""The search for an autoencoder as a training that Lightning runs."""

from __future__ import annotations

from lightning.pytorch import LightningModule
from torch import Tensor
from torch.utils.data import DataLoader

from taskbasis.basis.autoencoder.lbfgs import Search
from taskbasis.trainer import in_order


class SearchModule(LightningModule):
    """Each training step is one whole search from one start, until no further start is needed.

    Args:
        search: takes up the result.
        numbers: of the starts that it may have.
    """

    def __init__(self, search: Search, numbers: range) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.search, self.numbers = search, numbers

    def train_dataloader(self) -> DataLoader[int]:
        """The numbers, in order."""
        return in_order(self.numbers)

    def training_step(self, number: Tensor, batch_index: int) -> None:
        """Search from start ``number``."""
        self.search.begin(int(number))
        self.trainer.should_stop = self.search.finished

    def configure_optimizers(self) -> None:
        """None: the search is SciPy's, not an optimiser of parameters."""
