"""How training is doing, for who watches."""

import sys
import time
from typing import Any

import lightning as L
from tqdm import tqdm  # type: ignore[import-untyped]

from compvae_pyg.training.metrics_file import MetricsFile
from compvae_pyg.training.module import CompVAEModule

__all__ = ["Progress"]


class Progress(L.Callback):
    """Shows a progress bar on a terminal, and elsewhere prints a line now and then.

    Args:
        metrics: Where the numbers come from; must precede this among the callbacks.
        seconds: Least time from one line to the next where there is no terminal.
    """

    def __init__(self, metrics: MetricsFile, seconds: float = 30.0) -> None:
        self.metrics = metrics
        self.seconds = seconds
        self._bar: tqdm | None = None
        self._last_line = -float("inf")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the bar."""
        assert isinstance(pl_module, CompVAEModule)
        if trainer.is_global_zero and sys.stderr.isatty():
            self._bar = tqdm(
                total=pl_module.schedule.num_steps,
                initial=pl_module.step,
                unit="step",
                dynamic_ncols=True,
                smoothing=0.05,
            )

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Advance the bar, and show a new row of metrics."""
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, CompVAEModule)
        if self._bar is not None:
            self._bar.update(1)
        if self.metrics.row.get("step") != pl_module.step:
            return
        text = describe(self.metrics.row)
        num_steps = pl_module.schedule.num_steps
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
        elif (now := time.monotonic()) - self._last_line >= self.seconds or (
            pl_module.step == num_steps
        ):
            self._last_line = now
            print(f"step {pl_module.step}/{num_steps}  {text}", file=sys.stderr, flush=True)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar, so that messages begin on a line of their own."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def describe(row: dict[str, float | str]) -> str:
    """Return a row of metrics in a few words.

    Example:
        >>> describe({"stage": "parts", "elbo_nats": 12.34, "kl_w_bits": 56.7, "kl_z_bits": 0.0,
        ...           "rmse": 0.0789, "skipped_steps": 0})
        'parts: elbo 12.3 nats, kl_w 56.7 bits, kl_z 0.0 bits, rmse 0.0789'
    """
    text = (
        f"{row['stage']}: elbo {row['elbo_nats']:.1f} nats, kl_w {row['kl_w_bits']:.1f} bits, "
        f"kl_z {row['kl_z_bits']:.1f} bits, rmse {row['rmse']:.4f}"
    )
    return text + (f", {row['skipped_steps']} skipped" if row["skipped_steps"] else "")
