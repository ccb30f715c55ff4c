"""A stand-in for an engine's server, run as a process of its own: it starts within moments and misbehaves when told to.

    python fake_engine.py --port N [--max-num-seqs N] [--ignore-term] [--dies-after SECONDS] [--silent] [--child] …

`/load/N` makes its page show N running requests. With `--gpu-memory-utilization=0.99` it does not start.
"""

import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LAST_WORDS = "ValueError: Free memory on device is less than desired GPU memory utilization (0.99)"
running = 0


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        global running
        if self.path.startswith("/load/"):
            running = int(self.path.rpartition("/")[2])
        pages = {
            "/health": "",
            "/v1/models": '{"data": []}',
            "/metrics": f"vllm:num_requests_running {running}\nvllm:num_requests_waiting 0\n",
        }
        page = pages.get(self.path, "").encode()
        self.send_response(404 if self.path not in pages else 200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.send_header("content-length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        pass


def value(flag: str) -> str | None:
    return sys.argv[sys.argv.index(flag) + 1] if flag in sys.argv else None


def main() -> None:
    print(f"fake engine {os.getpid()} with {sys.argv[1:]}", flush=True)
    if "--gpu-memory-utilization=0.99" in sys.argv:
        print("Traceback (most recent call last):\n" + LAST_WORDS + f" {os.environ.get('HF_TOKEN', '')}", flush=True)
        sys.exit(1)
    if "--ignore-term" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "--child" in sys.argv:
        child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])
        print(f"child {child.pid}", flush=True)
    if (seconds := value("--dies-after")) is not None:
        threading.Timer(float(seconds), lambda: os._exit(3)).start()
    server = ThreadingHTTPServer(("127.0.0.1", int(value("--port") or 0)), Answers)
    server.serve_forever()


if __name__ == "__main__":
    main()
