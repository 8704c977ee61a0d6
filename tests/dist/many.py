"""Checks dist/many/ as far as that goes without containers: do its parts fit each other?

Runs with the path of the concierge binary. The compose file must parse, give every gateway the same and all that config.toml
asks of the environment; nginx must know every gateway by its address, and pass streams on as they come.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

# Seconds: the gateway's own, by default.
TOTAL_TIMEOUT = 600
MANY = Path(__file__).resolve().parents[2] / "dist" / "many"
# What the gateway must be able to rely on.
STREAMS = ["proxy_http_version 1.1", 'proxy_set_header Connection ""', "proxy_buffering off", "proxy_set_header X-Forwarded-For"]


def containers(services, gateways):
    """The gateways are the same but for their address, and nothing but nginx can be reached, from this machine."""
    if len(gateways) < 2:
        yield "fewer than two gateways"
    alike = [{key: value for key, value in gateway.items() if key != "networks"} for gateway in gateways]
    if any(gateway != alike[0] for gateway in alike):
        yield "gateways differ in more than their address"
    for name, service in services.items():
        sources = [volume.split(":")[0] for volume in service.get("volumes", [])]
        yield from (f"{name}: there is no {s}" for s in sources if s.startswith("./") and not (MANY / s).is_file())
        ports = service.get("ports", [])
        if ports and name != "nginx":
            yield f"{name} can be reached from outside"
        yield from (f"{name} listens beyond this machine: {port}" for port in ports if not port.startswith("127.0.0.1:"))


def balancer(gateways):
    """nginx knows every gateway, passes streams on at once, and does not give up before the gateway does."""
    conf = re.sub(r"#.*", "", (MANY / "nginx.conf").read_text())
    addresses = {gateway["networks"]["default"]["ipv4_address"] + ":8080" for gateway in gateways}
    known = set(re.findall(r"\bserver\s+([\d.]+:\d+)", conf))
    if addresses != known:
        yield f"nginx knows {known}, the gateways are {addresses}"
    yield from (f"nginx.conf lacks {line}" for line in STREAMS if line not in conf)
    if int(re.search(r"proxy_read_timeout (\d+)s", conf)[1]) <= TOTAL_TIMEOUT:
        yield "nginx gives up before the gateway"
    if shutil.which("nginx"):
        yield from complaints(["nginx", "-t", "-q", "-c", MANY / "nginx.conf"])


def configuration(binary, given):
    """The gateway takes its file with what the compose file gives it."""
    asked = set(re.findall(r"\$\{(\w+)", (MANY / "config.toml").read_text()))
    yield from (f"config.toml: compose.yaml gives no {name}" for name in sorted(asked - set(given)))
    # What compose takes from outside, with a value as long as a secret.
    values = {name: re.sub(r"\$\{\w+[^}]*\}", "0123456789abcdef" * 4, value) for name, value in given.items()}
    yield from complaints([binary, "check", "--config", MANY / "config.toml"], {**values, "PATH": os.environ["PATH"]})


def complaints(command, env=None):
    """What a command says that does not like what it sees."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        yield f"{command[0]}: {done.stdout}{done.stderr}"


def main(binary):
    services = yaml.safe_load((MANY / "compose.yaml").read_text())["services"]
    gateways = [service for name, service in services.items() if name.startswith("gateway-")]
    wrong = [
        *containers(services, gateways),
        *balancer(gateways),
        *configuration(binary, gateways[0]["environment"]),
        *complaints(["sh", "-n", MANY / "postgres.sh"]),
    ]
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"dist/many: {len(gateways)} gateways, {len(wrong)} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
