"""Brings the database to the shape that this commit needs. It may run any number of times."""

import os
import sqlite3

STATEMENTS = ["CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY, what TEXT)"]

with sqlite3.connect(os.environ["DATABASE"]) as database:
    for statement in STATEMENTS:
        database.execute(statement)
print("the tables are there", flush=True)
