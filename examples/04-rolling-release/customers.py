"""Four customers who ask without a pause: python3 customers.py URL SECONDS. Prints how many answers of each kind they got."""

import sys
import threading
import time
from collections import Counter
from urllib.request import urlopen

answers: Counter[str] = Counter()


def customer(url: str, end: float) -> None:
    while time.monotonic() < end:
        try:
            with urlopen(url, timeout=10) as answer:
                answers[answer.read().decode().strip()] += 1
        except OSError:
            answers["failed"] += 1


customers = [threading.Thread(target=customer, args=(sys.argv[1], time.monotonic() + float(sys.argv[2]))) for _ in range(4)]
for one in customers:
    one.start()
for one in customers:
    one.join()
for text in sorted(answers):
    print(text if text != "failed" else f"failed: {answers[text]}")
print(f"{answers['failed']} of the requests failed")
