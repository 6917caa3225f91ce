"""Architectures that MONAI and torchvision lack, one a file (their promises: tests/networks/test_contract.py).

``__init__.pyi`` lists them. Each is imported when it is first asked for: torchvision, which some of them need, takes
as long as torch itself.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
