"""Servers that sinks write to, as the tests start them: InfluxDB and OpenSearch, real ones, each in a folder of its own and on a port of
loopback; and a scripted one over HTTP that fails as it is told. Needs what scripts/setup --tests has brought."""
import collections
import gzip
import http.server
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile

from rig import ROOT, Skip, Wrong, expect

CACHE = os.environ.get("MILLRACE_CACHE", os.path.join(ROOT, ".cache"))
INFLUXD = os.path.join(CACHE, "influxdb", "influxd")
SEARCH_ZIP = os.path.join(CACHE, "opensearch", "opensearch-2.11.0.zip")


def free_ports(count):
    """Ports that nobody listens at, all different."""
    links = [socket.socket() for _ in range(count)]
    for link in links:
        link.bind(("127.0.0.1", 0))
    ports = [link.getsockname()[1] for link in links]
    for link in links:
        link.close()
    return ports


class Server:
    """A process that is there when it answers a GET of `ready`."""

    deadline_s = 90

    def __init__(self, port=None):
        self.folder = tempfile.mkdtemp(prefix="millrace-server-")
        self.port, self.other_port = (port, free_ports(1)[0]) if port else free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = self.launch(log)
        end = time.monotonic() + self.deadline_s
        while True:
            try:
                with urllib.request.urlopen(self.url + self.ready, timeout=5) as answer:
                    answer.read()
                return self
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > end:
                raise Wrong(f"{type(self).__name__} does not answer: {self.log()[-2000:]}")
            time.sleep(0.05)  # between two looks

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def stop(self):
        """At once, as a crash would; what is on its disk stays."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process:
            self.process.wait()
        self.process = None

    def close(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, path, body=None, method=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")


class Influx(Server):
    """InfluxDB 1.6 of the distribution."""

    ready = "/ping"

    def launch(self, log):
        if not os.path.exists(INFLUXD):
            raise Skip("InfluxDB is not in .cache/influxdb (scripts/setup --tests brings it)")
        config = os.path.join(self.folder, "config")
        with open(config, "w", encoding="ascii") as file:
            file.write(f"""reporting-disabled = true
bind-address = "127.0.0.1:{self.other_port}"
[meta]
dir = "{self.folder}/meta"
[data]
dir = "{self.folder}/data"
wal-dir = "{self.folder}/wal"
max-series-per-database = 0
[http]
bind-address = "127.0.0.1:{self.port}"
log-enabled = false
[monitor]
store-enabled = false
""")
        return subprocess.Popen([INFLUXD, "-config", config], stdout=log, stderr=log, start_new_session=True)

    def query(self, text, database="", epoch="ns"):
        """Rows of the first series of the answer, as dicts."""
        words = urllib.parse.urlencode({"q": text, "db": database, "epoch": epoch})
        request = urllib.request.Request(f"{self.url}/query", words.encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            results = json.load(answer)["results"]
        expect("error" not in results[0], f"{text}: {results}")
        rows = []
        for series in results[0].get("series", []):
            rows += [{**series.get("tags", {}), **dict(zip(series["columns"], row))} for row in series["values"]]
        return rows

    def database(self, name):
        self.query(f'CREATE DATABASE "{name}"')

    def points(self, database, measurement):
        """All points, tags as columns."""
        return self.query(f'SELECT * FROM "{measurement}"', database)


class Search(Server):
    """OpenSearch 2.11: what its project publishes for others' tests. It does not start as root."""

    ready = "/_cluster/health?wait_for_status=yellow&timeout=5s"

    def launch(self, log):
        if not os.path.exists(SEARCH_ZIP):
            raise Skip("OpenSearch is not in .cache/opensearch (scripts/setup --tests brings it)")
        if not shutil.which("java"):
            raise Skip("java is not installed (scripts/setup --tests installs it)")
        home = os.path.join(self.folder, "opensearch-2.11.0")
        if not os.path.exists(home):
            with zipfile.ZipFile(SEARCH_ZIP) as package:
                package.extractall(self.folder)
            for name in os.listdir(os.path.join(home, "bin")):
                os.chmod(os.path.join(home, "bin", name), 0o755)
            with open(os.path.join(home, "config", "jvm.options"), "w", encoding="ascii") as file:
                file.write("-Xms512m\n-Xmx512m\n-XX:+UseSerialGC\n-XX:TieredStopAtLevel=1\n")
            with open(os.path.join(home, "config", "opensearch.yml"), "w", encoding="ascii") as file:
                file.write(f"http.port: {self.port}\ntransport.port: {self.other_port}\nhttp.host: 127.0.0.1\ntransport.host: 127.0.0.1\n"
                           "discovery.type: single-node\ncluster.routing.allocation.disk.threshold_enabled: false\n")
        user = None
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            for folder, _, names in os.walk(self.folder):
                for path in [folder, *(os.path.join(folder, name) for name in names)]:
                    os.chown(path, user.pw_uid, user.pw_gid)
        java_home = os.path.dirname(os.path.dirname(os.path.realpath(shutil.which("java"))))
        environment = {**os.environ, "OPENSEARCH_JAVA_HOME": java_home, "HOME": self.folder}
        return subprocess.Popen(["bash", os.path.join(home, "bin", "opensearch")], stdout=log, stderr=log, start_new_session=True, cwd=home, env=environment,
                                user=user.pw_uid if user else None, group=user.pw_gid if user else None, extra_groups=[] if user else None)

    def documents(self, index):
        """Id -> document, of all."""
        self.ask(f"/{index}/_refresh", method="POST")
        found, after = {}, None
        while True:
            body = {"size": 10000, "sort": [{"_id": "asc"}]}
            if after:
                body["search_after"] = after
            hits = self.ask(f"/{index}/_search", body)["hits"]["hits"]
            if not hits:
                break
            for hit in hits:
                expect(hit["_id"] not in found, f"twice: {hit['_id']}")
                found[hit["_id"]] = hit["_source"]
            after = hits[-1]["sort"]
        count = self.ask(f"/{index}/_count")["count"]
        expect(count == len(found), f"_count says {count}, the search found {len(found)}")
        return found


Request = collections.namedtuple("Request", "method path headers body at")


class Fake:
    """A server over HTTP whose answers are scripted: `answer` is called for each request, and returns (status, headers, body), or a word:
    "cut" closes the connection instead, "half" does so in the middle of its answer, "hang" answers nothing until release(). cut_bodies: so
    many requests are cut in the middle of their body. It keeps what it got."""

    def __init__(self, answer):
        self.answer = answer
        self.requests = []
        self.cut_bodies = 0
        self.news = threading.Condition()
        self.released = threading.Event()
        self.server = None
        self.port = None
        self.start()

    def start(self):
        """At the port that it had before."""
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet: else each answer waits for an acknowledgement

            def log_message(self, *_words):
                pass

            def handle_one(self):
                bytes_left = int(self.headers.get("Content-Length", 0))
                if fake.cut_bodies and bytes_left:
                    fake.cut_bodies -= 1
                    self.rfile.read(bytes_left // 2)
                    fake.drop(self)
                    return
                raw = self.rfile.read(bytes_left)
                packed = self.headers.get("Content-Encoding") == "gzip"
                fake.handle(self, Request(self.command, self.path, dict(self.headers), gzip.decompress(raw) if packed else raw, time.monotonic()))

            do_GET = do_POST = do_PUT = handle_one

        class Listener(http.server.ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, *_words):  # a client that goes away is no news
                pass

        self.server = Listener(("127.0.0.1", self.port or 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @staticmethod
    def drop(handler):
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True

    def handle(self, handler, request):
        with self.news:
            answer = self.answer(request)
            self.requests.append(request)
            self.news.notify_all()
        if answer == "hang":
            self.released.wait(120)
            answer = "cut"
        if answer == "cut":
            self.drop(handler)
            return
        if answer == "half":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"items\":[")
            handler.wfile.flush()
            self.drop(handler)
            return
        status, headers, body = answer
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
        handler.wfile.flush()

    def wait(self, condition, what, deadline_s=60):
        """Until condition() is true; looked at after each request."""
        with self.news:
            expect(self.news.wait_for(condition, deadline_s), f"waited {deadline_s} s for {what}; {len(self.requests)} requests came")

    def release(self):
        self.released.set()

    def stop(self):
        """Connections are refused from now on."""
        self.server.shutdown()
        self.server.server_close()

    def close(self):
        self.release()
        self.stop()
