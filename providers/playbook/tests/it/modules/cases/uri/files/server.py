"""A small web server that always says the same."""
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    server_version = "Case"
    sys_version = ""

    def date_time_string(self, timestamp=None):
        return "Mon, 01 Jan 2024 00:00:00 GMT"

    def log_message(self, *args):
        pass

    def say(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(body)

    def any(self):
        length = int(self.headers.get("Content-Length") or 0)
        sent = self.rfile.read(length)
        path = self.path
        text = [("Content-Type", "text/plain")]
        if path == "/ok":
            self.say(200, b"okay\n", text)
        elif path == "/other":
            self.say(200, b"other\n", text)
        elif path == "/named":
            self.say(200, b"named\n", text + [("Content-Disposition", 'attachment; filename="given.txt"')])
        elif path == "/headers":
            self.say(200, str(self.headers).encode(), text)
        elif path == "/echo":
            kind = self.headers.get("Content-Type")
            one = self.headers.get("X-One")
            self.say(200, f"{self.command} {kind} {one} ".encode() + sent, text)
        elif path == "/json":
            self.say(200, b'{"b": [1, 2.5, null], "a": "\xc3\xa9"}', [("Content-Type", "application/json; charset=utf-8")])
        elif path == "/badjson":
            self.say(200, b"{nope", [("Content-Type", "application/json")])
        elif path == "/redirect":
            self.say(302, b"", [("Location", "/ok")])
        elif path == "/cookies":
            self.say(200, b"c", text + [("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2")])
        elif path == "/auth":
            if self.headers.get("Authorization") == "Basic dTpw":
                self.say(200, b"in\n", text)
            else:
                self.say(401, b"out\n", text + [("WWW-Authenticate", 'Basic realm="r"')])
        elif path == "/slow":
            time.sleep(3)
            self.say(200, b"late\n", text)
        elif path == "/sums":
            self.say(200, b"886f90cb542138934de905357d0fdbf35c6bff33  ok\n7b1d56ec8bb5b0dbd8b9c2cbb7cc2dac9d8be54e *other\n", text)
        elif path == "/form":
            self.say(200, b"form\n" if b"filename=\"n.txt\"" in sent else b"none\n", text)
        elif path.startswith("/status/"):
            self.say(int(path[8:]), b"s\n", text)
        elif path == "/quit":
            self.say(200, b"bye\n", text)
            self.wfile.flush()
            os._exit(0)
        else:
            self.say(404, b"none\n", text)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = any


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
