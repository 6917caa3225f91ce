"""Metrics on the original grid, scores of classes, intervals over patients, paired tests, shortcut
controls, and the reports of an evaluation.

``__init__.pyi`` lists them. Each is imported when it is first asked for: a prediction asks for none that draws.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
