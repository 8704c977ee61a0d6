"""Compares dist/ with the page at /metrics of a gateway that has met everything that is counted.

Runs under `with-gateway`: BASE_URL, API_KEY and LIMITED_API_KEY are those of a gateway in front of a fake provider whose
models fail each in their own way, and, where there is a Redis, of a gateway that shares it. The page must be what a strict parser of its format takes, and hold every metric and
label that the dashboard and the alerts name.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

DIST = Path(__file__).resolve().parents[2] / "dist"
BASE = os.environ["BASE_URL"]
GATEWAY = BASE.removesuffix("/v1")
# Labels that Prometheus adds.
ADDED = {"instance", "job", "le"}
# The scrape's own metric.
OWN = {"up": {"instance", "job"}}
# What is counted only where gateways share a Redis.
NAMES_WITH_REDIS = {
    "concierge_redis_up", "concierge_gateways", "concierge_redis_errors_total", "concierge_leases_restored_total",
    "concierge_redis_messages_dropped_total", "concierge_peer_messages_told_total", "concierge_peer_messages_heard_total",
    "concierge_peer_messages_unreadable_total",
}
NAME = re.compile(r"\b(?:concierge|gen_ai|process)_[a-z0-9_]+\b|\bup\b")


def ask(path, body=None, **headers):
    """The text of an answer, whatever its status."""
    data = json.dumps(body).encode() if body is not None else None
    headers = {"content-type": "application/json", **headers}
    try:
        with urllib.request.urlopen(urllib.request.Request(GATEWAY + path, data, headers)) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except (OSError, ValueError):
        return ""  # A stream that is cut, on purpose.


def meet_everything():
    """Requests that are answered, fail over, are refused, break, and look for memories."""
    key = {"authorization": f"Bearer {os.environ['API_KEY']}"}
    models = ["chat", "first-fails", "broken", "rate-limited", "key-refused", "cut-reset", "bad-request", "nobody"]
    for model in models:
        for stream in (False, True):
            body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "stream": stream}
            ask("/v1/chat/completions", body, **key)
    ask("/v1/embeddings", {"model": "embed", "input": "Hello"}, **key)
    ask("/v1/chat/completions", {"model": "chat", "messages": []}, authorization="Bearer wrong")


def series(parse, text):
    """Label names by the name of a sample."""
    found = {}
    for family in parse(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions():
    """Every PromQL expression of dist/, and where it is."""
    dashboard = json.loads((DIST / "grafana/concierge.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            legend = re.findall(r"{{(\w+)}}", target.get("legendFormat", ""))
            yield f"dashboard, {panel['title']}", target["expr"], legend
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield f"dashboard, ${variable['name']}", variable["query"], []
    for note in dashboard["annotations"]["list"]:
        yield f"dashboard, {note['name']}", note["expr"], []
    for group in yaml.safe_load((DIST / "prometheus/alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            assert {"alert", "expr", "labels", "annotations"} <= rule.keys(), rule
            texts = " ".join(rule["annotations"].values())
            yield f"alert {rule['alert']}", rule["expr"], re.findall(r"\$labels\.(\w+)", texts)


def labels_of(expression):
    """Names in selectors, and in `by`, `on` and `group_left` clauses; without the dashboard's own variables."""
    selectors = " ".join(re.findall(r"{([^}]*)}", expression))
    named = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', selectors)))
    for clause in re.findall(r"\b(?:by|on|without|group_left|group_right)\s*\(([^)]*)\)", expression):
        named.update(part.strip() for part in clause.split(",") if part.strip())
    return named


def problems(where, expression, legend, known):
    names = NAME.findall(re.sub(r'"[^"]*"', '""', expression))
    names = [name for name in names if name not in labels_of(expression) | set(legend)]
    if not names:
        yield f"{where}: names no metric: {expression}"
    for name in names:
        if name not in known:
            yield f"{where}: there is no metric {name}"
    there = set().union(ADDED, *(known.get(name, set()) for name in names))
    for label in sorted((labels_of(expression) | set(legend)) - there):
        yield f"{where}: no metric of it has a label {label}"
    if expression.count("(") != expression.count(")") or expression.count("{") != expression.count("}"):
        yield f"{where}: brackets do not match: {expression}"


def main():
    for file in DIST.rglob("*.y*ml"):
        yaml.safe_load(file.read_text())
    meet_everything()
    plain = ask("/metrics")
    plain_series = series(prometheus, plain)
    known = {**plain_series, **OWN}
    strict = series(open_metrics, ask("/metrics", accept="application/openmetrics-text"))
    if "concierge_redis_up" not in known:
        print("There is no Redis: nothing is said of the metrics that need one.")
        known |= {name: {"instance", "error"} for name in NAMES_WITH_REDIS}
    wrong = [f"only in one of the formats: {name}" for name in sorted(set(strict) ^ set(plain_series))]
    if promtool := shutil.which("promtool"):
        subprocess.run([promtool, "check", "metrics", "--lint=none"], input=plain, text=True, check=True)
    all_expressions = list(expressions())
    for where, expression, legend in all_expressions:
        wrong.extend(problems(where, expression, legend, known))
    shown = set().union(*(NAME.findall(expression) for _, expression, _ in all_expressions))
    told = {re.sub(r"_(total|bucket|count|sum|info)$", "", name) for name in known}
    unseen = told - {re.sub(r"_(total|bucket|count|sum|info)$", "", name) for name in shown}
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"{len(known)} metrics, {len(all_expressions)} expressions, {len(wrong)} problems")
    print(f"Metrics that neither the dashboard nor an alert shows: {', '.join(sorted(unseen)) or 'none'}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
