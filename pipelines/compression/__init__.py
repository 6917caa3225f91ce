"""A bundle's network made smaller: int8, half precision, pruning, distillation; each file measured against fp32.

``__init__.pyi`` lists what is here. Each is imported when it is first asked for: a training asks for the loss alone,
and a process that measures memory for nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
