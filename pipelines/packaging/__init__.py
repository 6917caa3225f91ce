"""A bundle and all that it needs as one file, to install and run it on another machine; the check of such a file."""

from pipelines.packaging.archive import Checked, verify_package
from pipelines.packaging.package import Package, package_bundle

__all__ = ["Checked", "Package", "package_bundle", "verify_package"]
