"""Greets, slowly: each answer takes a tenth of a second, so that a stop in the middle of one would be seen."""

import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RELEASE = 1
READY = True


class Greeter(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/ready" and not READY:
            self.answer(503, "not ready\n")
        elif self.path in ("/ready", "/live"):
            self.answer(200, "ok\n")
        else:
            time.sleep(0.1)
            self.answer(200, f"Hello from release {RELEASE}\n")

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 64


print(f"release {RELEASE} starts", flush=True)
Server(("127.0.0.1", int(os.environ["PORT"])), Greeter).serve_forever()
