"""MONAI's own MLflow handlers, beside which a run would be recorded twice."""

from __future__ import annotations

import logging

from ignite.engine import Engine
from monai.handlers import MLFlowHandler

logger = logging.getLogger(__name__)


def take_off_monais(*engines: Engine | None) -> None:
    """Take MONAI's own MLflow handlers off the engines, so that what we record is recorded once."""
    found = 0
    for engine in filter(None, engines):
        for event, handlers in list(engine._event_handlers.items()):
            for handler in [each[0] for each in handlers]:
                given = getattr(handler, "__wrapped__", handler)  # ignite wraps one that is not called at every event
                if isinstance(getattr(given, "__self__", None), MLFlowHandler):
                    engine.remove_event_handler(given, event)
                    found += 1
    if found:
        logger.warning("this bundle tracks its runs itself: MONAI's --tracking mlflow is not needed, and is left out")
