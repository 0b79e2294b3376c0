"""The laws: what has to hold whatever fails, each a function whose first line is the law in one sentence.

Laws of acts are asked at every mutation of a target, laws of writes at every write of the store, laws of the end when the faults
have stopped and the world was given time. Each yields what speaks against it. None asks the engine; see `witness.py`.
"""

from . import ends, hooks, objects, writes
from .law import ACTS, ENDS, WRITES

__all__ = ["ACTS", "ENDS", "WRITES", "ends", "hooks", "objects", "sentences", "writes"]


def sentences() -> dict[str, str]:
    """Every law by name, with its sentence."""
    return {name: (check.__doc__ or "").splitlines()[0] for book in (ACTS, WRITES, ENDS) for name, check in book.items()}
