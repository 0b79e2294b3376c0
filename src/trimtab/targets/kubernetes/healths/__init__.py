"""The tables behind `health.assess`: for each API group and kind, the rule that reads its status.

Every rule is pure: an object as decoded from JSON in, a Health out, never an exception, whatever the object looks like. What has
the same shape is data (`shapes.py`); code is written only where a kind needs it. Kinds that are not in a table are read by the
conditions convention (`conditions.py`).
"""
