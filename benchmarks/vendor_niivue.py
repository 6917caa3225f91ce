"""Puts a version of NiiVue, which draws the volumes of ``pipelines view``, into the package: ``make niivue VERSION=X``.

It is fetched by npm, which checks the registry's own digest, and written with its version and SHA-256; a test holds the
file against these. Look at the page and run the slow tests of tests/viewer afterwards: the page uses a few of NiiVue's
parts that no interface promises (``static/volume.js`` says which).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "@niivue/niivue"
VENDOR = Path(__file__).resolve().parent.parent / "pipelines" / "viewer" / "static" / "vendor"
SCRIPT = "dist/niivue.umd.js"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", help="such as 0.69.0")
    version = parser.parse_args().version
    before = json.loads((VENDOR / "niivue.json").read_text("utf-8")) if (VENDOR / "niivue.json").is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        packing = ["npm", "pack", f"{PACKAGE}@{version}", "--silent", "--pack-destination", folder]
        subprocess.run(packing, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as opened:
            inside = opened.extractfile(f"package/{SCRIPT}")
            stated = opened.extractfile("package/package.json")
            assert inside is not None and stated is not None  # noqa: PT018
            content, about = inside.read(), json.loads(stated.read())
    now = {
        "name": PACKAGE,
        "version": about["version"],
        "licence": about["license"],
        "file": SCRIPT,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    (VENDOR / "niivue.umd.js").write_bytes(content)
    (VENDOR / "niivue.json").write_text(json.dumps(now, indent=2) + "\n", "utf-8")
    print(f"{before.get('version')} {before.get('sha256')}\n{now['version']} {now['sha256']}")


if __name__ == "__main__":
    main()
