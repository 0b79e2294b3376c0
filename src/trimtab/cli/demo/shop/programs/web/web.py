"""The front of the shop: asks the api for the prices, and shows them. It is ready when the api answers."""

import http.client
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RELEASE = 1
NEEDS = ["/prices"]


def ask(path: str) -> dict[str, float]:
    connection = http.client.HTTPConnection(os.environ["API"], timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    if answer.status != 200:
        raise OSError(f"the api answers {answer.status} to {path}")
    prices: dict[str, float] = json.load(answer)
    return prices


class Web(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        try:
            prices, *_ = [ask(path) for path in NEEDS]
        except OSError as error:
            print(f"not ready: {error}", flush=True)
            self.send_error(503)
        else:
            self.answer(", ".join(f"{name} {price:.2f}" for name, price in prices.items()))

    def answer(self, goods: str) -> None:
        text = f"The shop, release {RELEASE}: {goods}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Served-By", str(os.getpid()))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128


print(f"release {RELEASE} starts", flush=True)
Server(("127.0.0.1", int(os.environ["PORT"])), Web).serve_forever()
