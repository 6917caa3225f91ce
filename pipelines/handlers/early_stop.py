"""Early stopping whose patience survives a restart."""

from __future__ import annotations

from typing import Any

from monai.handlers import EarlyStopHandler


class ResumableEarlyStop(EarlyStopHandler):
    """MONAI's EarlyStopHandler with ignite's ``state_dict``, so that a checkpoint can hold how long it has waited.

    Call ``set_trainer`` before training: a config cannot name the trainer within its own handlers.
    """

    def state_dict(self) -> dict[str, Any]:
        """Validations without improvement, and the best score so far."""
        return dict(self._require().state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._require().load_state_dict(state)

    def _require(self) -> Any:
        if self._handler is None:
            raise RuntimeError("call set_trainer() before training")
        return self._handler
