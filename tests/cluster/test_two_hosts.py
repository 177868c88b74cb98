"""Two network namespaces: executors that share nothing but a cable, which somebody pulls."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cluster.census import Premises
from tests.cluster.drivers import Driver

pytestmark = pytest.mark.xdist_group("hosts")

ISOLATED = ["unshare", "--user", "--map-root-user", "--net", "--mount"]

PROGRAM = """
import contextlib, json, os, subprocess, sys, threading, time
import flowgrid as fg
from flowgrid.submit.client import ask_status
from flowgrid.transport.security import Keys, create_keys
from pathlib import Path
from tests.cluster.deadlines import eventually
from tests.cluster.heavy import SHUFFLES, require_right, shuffled

HERE, THERE = "10.77.0.1", "10.77.0.2"
folder = Path(sys.argv[1])
keys = folder / "keys"
create_keys(keys)
conf = ["--conf", "executor.heartbeat_timeout_s=2", "--conf", "executor.heartbeat_interval_s=0.2"]

def ip(*words):
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout

def there(*command):
    return ["nsenter", "--target", str(other.pid), "--net", *command]

def server(module, *flags, before=()):
    command = [*before, sys.executable, "-m", module, *flags, "--keys", str(keys), *conf]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    stack.callback(child.wait)
    stack.callback(child.terminate)
    return child

def travelled():
    return json.loads(ip("-stats", "-json", "link", "show", "here"))[0]["stats64"]["rx"]["bytes"]

def executors():
    return len(ask_status(address, Keys(keys, "observer"), 5.0).executors)

with contextlib.ExitStack() as stack:
    other = stack.enter_context(subprocess.Popen(["unshare", "--net", "sleep", "1000"]))
    stack.callback(other.kill)
    own = os.readlink("/proc/self/ns/net")
    eventually("it has moved", lambda: os.readlink(f"/proc/{other.pid}/ns/net") != own)
    ip("link", "add", "here", "type", "veth", "peer", "name", "there", "netns", str(other.pid))
    ip("address", "add", f"{HERE}/24", "dev", "here")
    ip("link", "set", "here", "up")
    ip("link", "set", "lo", "up")
    subprocess.run(there("ip", "address", "add", f"{THERE}/24", "dev", "there"), check=True)
    for device in ("there", "lo"):
        subprocess.run(there("ip", "link", "set", device, "up"), check=True)
    scheduler = server(
        "flowgrid_scheduler", "--bind", f"tcp://{HERE}:0", "--state-dir", str(folder / "state")
    )
    address = json.loads(scheduler.stdout.readline())["control"]
    common = ("--scheduler", address, "--slots", "1")
    server("flowgrid_executor", *common, "--bind", f"tcp://{HERE}:0", "--name", "here")
    # A mount namespace of its own: nobody maps its files.
    server(
        "flowgrid_executor", *common, "--bind", f"tcp://{THERE}:0", "--name", "there",
        before=there("unshare", "--mount"),
    )
    with fg.connect(address, conf=SHUFFLES, keys=str(keys)) as session:
        eventually("both are there", lambda: executors() == 2, within_s=20)
        before = travelled()
        require_right(shuffled(session), within_s=20)
        assert travelled() - before > 1_000_000, "no block came over the cable"

        failures = []
        def job():
            try:
                require_right(shuffled(session), within_s=30)
            except BaseException as error:
                failures.append(error)
        running, before = threading.Thread(target=job), travelled()
        running.start()
        eventually("blocks travel", lambda: travelled() - before > 100_000, within_s=20)
        ip("link", "set", "here", "down")
        try:
            eventually("the other host is lost", lambda: executors() == 1)
            running.join()
        finally:
            ip("link", "set", "here", "up")
        assert not failures, failures
        eventually("it is back", lambda: executors() == 2, within_s=20)
        require_right(shuffled(session), within_s=20)
"""


def test_a_cable_that_is_pulled_costs_the_other_host_and_no_answer(
    premises: Premises, tmp_path: Path
) -> None:
    missing = [tool for tool in ("unshare", "nsenter", "ip") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"this machine has no {', '.join(missing)}")
    veth = "ip link add here type veth peer name there"
    tried = subprocess.run([*ISOLATED, "sh", "-c", veth], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"this machine lets nobody have a network of his own: {tried.stderr}")
    with Driver(PROGRAM, premises, str(tmp_path), under=ISOLATED) as driver:
        assert driver.process.wait(timeout=90) == 0, driver.output
        premises.require_empty()
