"""Settings in, a running server out: the only place that knows every adapter."""

from .charts import offline_lock
from .down import down
from .offline import offline_doctor, offline_plan, offline_render
from .server import Settings, running, serve

__all__ = [
    "Settings",
    "down",
    "offline_doctor",
    "offline_lock",
    "offline_plan",
    "offline_render",
    "running",
    "serve",
]
