"""The api of the shop: answers with the prices, read from their file each time. It needs the database that `migrate` makes."""

import os
import sqlite3
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Api(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/prices":
            self.answer(Path(os.environ["PRICES"]).read_bytes())
        else:
            self.send_error(404)

    def answer(self, text: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128


with sqlite3.connect(os.environ["DATABASE"]) as database:
    print("orders so far:", database.execute("SELECT count(*) FROM orders").fetchone()[0], flush=True)
Server(("127.0.0.1", int(os.environ["PORT"])), Api).serve_forever()
