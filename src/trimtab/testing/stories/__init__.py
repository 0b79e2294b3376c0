"""What happens in a simulated world, by a seed: what people commit, what befalls repositories and targets, what operators ask for.

`OPERATIONS` holds each operation with its weight, in an order that the seeds depend on; `mend` is how every story ends.
"""

from . import applications, content, mistakes, operators, repositories, server, targets
from .mending import mend
from .operation import SHARED, Operation

OPERATIONS: dict[Operation, int] = {
    **content.OPERATIONS,
    **applications.OPERATIONS,
    **mistakes.OPERATIONS,
    **repositories.OPERATIONS,
    **targets.OPERATIONS,
    **operators.OPERATIONS,
    **server.OPERATIONS,
}

__all__ = ["OPERATIONS", "SHARED", "mend"]
