#!/usr/bin/env python3
"""The web service that the quickstart deploys, with nothing but Python's standard library."""

import http.server
import os
import signal
import sys
import threading

VERSION = os.environ.get("VERSION", "v0")
HEALTHY = os.environ.get("HEALTH", "ok") == "ok"


def say(line):
    """The service's log is its standard output."""
    print(line, flush=True)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes: the second one would wait for the first one's acknowledgement, 40 ms each time.
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path == "/":
            status, body = 200, VERSION
        elif self.path == "/healthz" and HEALTHY:
            status, body = 200, f"ok {VERSION}"
        elif self.path == "/healthz":
            status, body = 500, f"{VERSION} can't reach its database"
        else:
            status, body = 404, "not found"
        if status != 200:
            say(f"GET {self.path} -> {status}")
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    # Requests that are under way are answered before the process ends.
    daemon_threads = False
    request_queue_size = 128


def main():
    server = Server(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    say(f"{VERSION} listens on port {server.server_port}")
    server.serve_forever(poll_interval=0.05)
    server.socket.close()
    say(f"{VERSION} has stopped")
    # Connections that clients keep open must not keep the process.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
