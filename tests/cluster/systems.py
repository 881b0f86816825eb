"""The departments' systems: one plain HTTP server per address, which says its name and what reached it.

    systems.py NAME=ADDRESS:PORT ...
"""

import http.server
import json
import socketserver
import sys
import threading


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # http.server's own asks a name server for the name of the address, and there is none that knows.
    server_bind = socketserver.TCPServer.server_bind


def serve(name, address, port):
    class System(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.dumps({"system": name, "method": self.command, "headers": dict(self.headers)}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *_):
            pass

    server = Server((address, port), System)
    threading.Thread(target=server.serve_forever).start()


for system in sys.argv[1:]:
    name, at = system.split("=")
    address, port = at.split(":")
    serve(name, address, int(port))
