"""The command line: one file for each noun, imported when somebody uses it."""
