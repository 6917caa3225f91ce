"""Bundles in MONAI Label: the app folder, the server, and what a request for a mask, a class or a training does."""

from __future__ import annotations

from pipelines.labelling.app_folder import prepare_app
from pipelines.labelling.environment import label_python, server_command, server_environment

__all__ = ["label_python", "prepare_app", "server_command", "server_environment"]
