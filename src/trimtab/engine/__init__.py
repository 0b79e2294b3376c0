"""The doing: follows repositories, runs the reconcile lifecycle for every Key, answers commands and queries. All through ports."""
