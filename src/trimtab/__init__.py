"""Trimtab: Git says what should run; Trimtab makes it so, keeps it so, and tells what became of each commit."""

__version__ = "0.1.0"
