"""Repositories that live here, and the smart HTTP server over them.

`GitHosting` (hosting.py) is the port's implementation, `GitServer` (server.py) the ASGI application that stock git talks to. A fetch
is answered by advertising.py and fetching.py, a push by receiving.py: commands.py reads it, quarantine.py checks its objects,
places.py moves the refs. writing.py makes merges without a work tree; upkeep.py packs, prunes and sweeps.
"""

from .hosting import GitHosting
from .limits import Limits
from .server import GitServer

__all__ = ["GitHosting", "GitServer", "Limits"]
