"""TensorBoard's page over a training's events, in a browser without a window, and without any other server."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import torch
from torch.utils.data import DataLoader

from pipelines.tracking.tensorboard_page import EventLinks, page_command

pytest.importorskip("tensorboard", reason="TensorBoard is not installed (the test extra)")
sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (the test extra)")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)"),
]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
# by tab: what there is once something is shown
SHOWN = {
    "timeseries": "text=training/train_loss",
    "images": "tf-image-loader img",
    "pr_curves": "text=validation/bright",
    "histograms": "text=weights/1.weight",
    "graphs": "svg g.node",
    "text": "text=batch_size",
}


@pytest.fixture
def events(tmp_path: Path, store: str) -> Path:
    """Of a training that tells bright pictures from dark ones."""
    from monai.engines import SupervisedEvaluator, SupervisedTrainer
    from monai.handlers import ValidationHandler

    from pipelines.tracking import RunTracker

    shades = [0.1, 0.9] * 3
    data = DataLoader(
        [{"image": torch.rand(1, 24, 24) * 0.2 + shade - 0.1, "label": int(shade > 0.5)} for shade in shades],
        batch_size=2,
    )
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(576, 2))
    evaluator = SupervisedEvaluator(device="cpu", val_data_loader=data, network=network)
    tracker = RunTracker(
        "shades", network=network, evaluator=evaluator, ckpt_dir=tmp_path / "ckpt", tensorboard=True,
        label_names={0: "dark", 1: "bright"}, params={"batch_size": 2}, system_metrics=False,
    )  # fmt: skip
    SupervisedTrainer(
        device="cpu", max_epochs=3, train_data_loader=data, network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.01), loss_function=torch.nn.CrossEntropyLoss(),
        train_handlers=[ValidationHandler(interval=1, validator=evaluator), tracker],
    ).run()  # fmt: skip
    return tmp_path / "ckpt"


@pytest.fixture
def address(events: Path, tmp_path: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    links = EventLinks(tmp_path / "links", only=events)
    assert links.refresh() == 1
    server = subprocess.Popen(page_command(tmp_path / "links", port=port), stderr=subprocess.DEVNULL)
    found, end = f"http://127.0.0.1:{port}", time.monotonic() + 60
    try:
        while time.monotonic() < end:
            try:
                with urlopen(f"{found}/data/runs", timeout=5) as answer:
                    if b"iterations" in answer.read():
                        break
            except (URLError, OSError):
                pass
            time.sleep(0.3)
        yield found
    finally:
        server.terminate()
        server.wait(20)


def test_each_tab_shows_what_was_written(address: str) -> None:
    asked: list[str] = []
    with sync_api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.on("request", lambda request: asked.append(request.url))
        for tab, place in SHOWN.items():
            page.goto(f"{address}/#{tab}")
            page.reload()
            page.locator(place).first.wait_for(timeout=30_000)
        browser.close()
    elsewhere = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert elsewhere == []
