"""The host target: processes, files and tasks on this machine.

Kept free of imports: `trimtab.targets.host.front` starts from here and must start quickly.
"""
