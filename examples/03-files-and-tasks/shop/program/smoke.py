"""Asks the shop for its prices, as a customer would, and fails when they do not come."""

import os
from urllib.request import urlopen

with urlopen(f"http://{os.environ['SHOP']}/", timeout=5) as answer:
    print(f"the shop answers: {answer.read().decode().strip()}", flush=True)
