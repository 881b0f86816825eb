"""The departments' systems: one plain HTTP server per address, which says its name and what reached it.

    systems.py NAME=ADDRESS:PORT ...

`/download` does not end for days, and neither does the WebSocket at `/ws`, which says a word every few moments.
"""

import base64
import hashlib
import http.server
import json
import socketserver
import sys
import threading
import time

# So much of a download every so often: it flows, and leaves the processors to what is tested.
BLOCK, PAUSE_S = bytes(16 * 1024), 0.02
LENGTH = 1 << 40
# A text frame of a WebSocket.
WORD = b"\x81\x04tide"
WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # http.server's own asks a name server for the name of the address, and there is none that knows.
    server_bind = socketserver.TCPServer.server_bind

    def handle_error(self, *_):
        """Whoever reads has gone away, which is nobody's business."""


def serve(name, address, port):
    class System(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            if self.path == "/download":
                return self.download()
            if self.headers.get("Upgrade") == "websocket":
                return self.websocket()
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.dumps({"system": name, "method": self.command, "headers": dict(self.headers)}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def download(self):
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(LENGTH))
            self.end_headers()
            while True:
                self.wfile.write(BLOCK)
                time.sleep(PAUSE_S)

        def websocket(self):
            key = self.headers["Sec-WebSocket-Key"].encode()
            self.send_response(101)
            self.send_header("Connection", "Upgrade")
            self.send_header("Upgrade", "websocket")
            self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key + WEBSOCKET).digest()).decode())
            self.end_headers()
            while True:
                self.wfile.write(WORD)
                time.sleep(PAUSE_S)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *_):
            pass

    server = Server((address, port), System)
    threading.Thread(target=server.serve_forever).start()


for system in sys.argv[1:]:
    name, at = system.split("=")
    address, port = at.split(":")
    serve(name, address, int(port))
