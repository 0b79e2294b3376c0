"""Shows the prices from their file, and how many orders are in the database."""

import os
import sqlite3
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Shop(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        with sqlite3.connect(os.environ["DATABASE"]) as database:
            (orders,) = database.execute("SELECT count(*) FROM orders").fetchone()
        text = f"{Path(os.environ['PRICES']).read_text().strip()} {orders} orders\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Shop).serve_forever()
