"""Answers every request with a greeting."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GREETING = "Hello"


class Greeter(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        text = f"{GREETING}, {os.environ['GREETED']}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Greeter).serve_forever()
