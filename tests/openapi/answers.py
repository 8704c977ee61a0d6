"""Calls every operation of /admin/openapi.json at running gateways, and holds each answer to its schema.

A documented gateway must answer with a documented status, and with exactly the documented fields: a field that is in an
answer and not in the document fails as well.
"""

import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate

# A gateway has started, and has said something of interest, within so many seconds.
PATIENCE = 30
USER = "ann"
CONFIG = """
[server]
listen = "127.0.0.1:0"
[memory]
path = "memory.db"
[[providers]]
name = "dead"
base_url = "http://127.0.0.1:9/v1"
[[models]]
name = "chat"
targets = ["dead/x"]
fallbacks = ["other"]
[[models]]
name = "other"
targets = ["dead/y"]
"""
NEW = {"text": "The boat is blue.", "session": "s1", "metadata": {"a": 1}}


class Gateway:
    """A running gateway, and how to ask it."""

    def __init__(self, binary, *arguments, place):
        command = [binary, *arguments]
        self.process = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url = self.process.stdout.readline().split("listens on ")[1].split()[0]

    def ask(self, method, path, body=None):
        """Status, content type, and body; of a stream only its first line."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json", "x-user-id": USER}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            reply = urllib.request.urlopen(request, timeout=PATIENCE)
        except urllib.error.HTTPError as refusal:
            reply = refusal
        kind = reply.headers["content-type"].split(";")[0]
        text = reply.readline() if kind == "text/event-stream" else reply.read()
        return reply.status, kind, text.decode()

    def json(self, method, path, body=None):
        return json.loads(self.ask(method, path, body)[2])


def strict(schema):
    """The schema, but every object has the properties that it names and no other."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    tight = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        tight.setdefault("additionalProperties", False)
    return tight


class Document:
    """The document, and which of its operations were called."""

    def __init__(self, text):
        self.doc = json.loads(text)
        validate(self.doc)
        self.components = strict(self.doc["components"])
        self.called = set()

    def operations(self):
        return {(method, path) for path, item in self.doc["paths"].items() for method in item}

    def check(self, gateway, method, path, body=None, status=200, **names):
        """Calls the operation `method path` with `names` in its path; what else is in `names` is its query."""
        answers = self.doc["paths"][path][method]["responses"]
        self.called.add((method, path))
        query = {name: value for name, value in names.items() if f"{{{name}}}" not in path}
        there = path.format(**{name: urllib.parse.quote(value, safe="") for name, value in names.items()})
        there += f"?{urllib.parse.urlencode(query)}" if query else ""
        got, kind, text = gateway.ask(method.upper(), there, body)
        assert got == status, f"{method} {there}: {got} {text}"
        answer = answers.get(str(got), answers["default"])
        if "$ref" in answer:
            answer = self.doc["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]]
        schema = answer["content"][kind]["schema"]
        if kind == "application/json":
            whole = {**strict(schema), "components": self.components}
            errors = Draft202012Validator(whole, format_checker=FormatChecker()).iter_errors(json.loads(text))
            told = [f"{method} {there}: {'/'.join(map(str, error.absolute_path))}: {error.message}" for error in errors]
            assert not told, "\n".join(told)


def operators(document, gateway, model, target):
    """Everything that an operator may ask of any gateway."""
    for path in ("/admin", "/admin/providers", "/admin/providers/summary", "/admin/requests", "/admin/slots",
                 "/admin/config", "/admin/events", "/admin/openapi.json", "/metrics"):
        document.check(gateway, "get", path)
    document.check(gateway, "get", "/admin/explain", model=model)
    document.check(gateway, "get", "/admin/explain", model="nobody-has-this", status=404)
    document.check(gateway, "post", "/admin/providers/{id}/drain", id="nobody", status=404)
    for hand in ("drain", "resume", "reset"):
        document.check(gateway, "get", "/admin/explain", model=model, stream="false", tokens="12")
        document.check(gateway, "post", f"/admin/providers/{{id}}/{hand}", id=target)


def memories(document, gateway):
    """A user's memories, as the user and as an operator see them."""
    document.check(gateway, "post", "/v1/memories", {"memories": [NEW, {"text": "Ann likes tea."}]}, status=201)
    document.check(gateway, "post", "/v1/memories", {"text": "The cat is called Tom."}, status=201)
    document.check(gateway, "get", "/v1/memories", limit="2")
    document.check(gateway, "post", "/v1/memories/search", {"query": "boat"})
    document.check(gateway, "put", "/v1/context", {"city": "Rome"})
    document.check(gateway, "patch", "/v1/context", {"town": None})
    document.check(gateway, "get", "/v1/context")
    known = gateway.json("GET", "/v1/memories")["data"][0]["id"]
    document.check(gateway, "get", "/v1/memories/{id}", id=known)
    document.check(gateway, "get", "/admin/memory")
    document.check(gateway, "get", "/admin/users/{user}/memories", user=USER)
    document.check(gateway, "get", "/admin/users/{user}/context", user=USER)
    document.check(gateway, "delete", "/v1/memories/{id}", id=known)
    document.check(gateway, "get", "/v1/memories/{id}", id=known, status=404)
    document.check(gateway, "delete", "/v1/memories", session="s1")
    document.check(gateway, "delete", "/admin/users/{user}/memories", user=USER)
    document.check(gateway, "delete", "/admin/cache/{user}", user=USER)
    document.check(gateway, "delete", "/admin/cache")


def reloads(document, gateway, config):
    document.check(gateway, "post", "/admin/reload")
    document.check(gateway, "get", "/admin/config")
    config.write_text("nonsense")
    document.check(gateway, "post", "/admin/reload", status=400)


def main(binary):
    binary = str(Path(binary).resolve())
    with tempfile.TemporaryDirectory() as place:
        config = Path(place) / "config.toml"
        config.write_text(CONFIG)
        plain = Gateway(binary, "--config", str(config), place=place)
        demo = Gateway(binary, "demo", "--listen", "127.0.0.1:0", place=place)
        try:
            document = Document(plain.ask("GET", "/admin/openapi.json")[2])
            # A failure, so that there is a reason to tell; and in the demo something in flight.
            plain.ask("POST", "/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]})
            limit = time.monotonic() + PATIENCE
            while not demo.json("GET", "/admin/requests")["requests"] and time.monotonic() < limit:
                time.sleep(0.05)
            operators(document, demo, "demo", "fast/demo")
            operators(document, plain, "chat", "dead")
            memories(document, plain)
            reloads(document, plain, config)
            missing = document.operations() - document.called
            assert not missing, f"not called: {sorted(missing)}"
            print(f"{len(document.called)} operations answer as documented")
        finally:
            for gateway in (plain, demo):
                gateway.process.kill()
                gateway.process.wait()


main(sys.argv[1])
