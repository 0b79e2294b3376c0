"""Support for tests, shipped so that authors of plug-ins have it too: virtual time, faults, fakes of every port, factories.

The fakes are the world: they outlive the engine that is tested on them. Everything is deterministic: what happens follows from
the seed alone, so a failing run is repeated by its seed.
"""
