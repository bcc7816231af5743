"""The real HAProxy and nginx, from Python."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Callable, List

import pytest

import towpath
from towpath.types import Backend


def started(command: List[str], ready: Callable[[], bool]) -> "subprocess.Popen[bytes]":
    if shutil.which(command[0]) is None:
        print(f"NOT RUN: {command[0]} from Python: apt-get install haproxy nginx-light")
        pytest.skip(f"no {command[0]}")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not ready():
        assert process.poll() is None
        time.sleep(0.01)
    return process


def roll(balancer: towpath.Balancer) -> None:
    assert "servers" in balancer.preflight().ok[0]
    balancer.add(Backend(name="web-1", address="127.0.0.1", port=9))
    assert [(b.backend.name, b.mode) for b in balancer.backends()] == [("web-1", "serving")]
    balancer.drain("web-1")
    assert balancer.wait_idle("web-1", 30.0) == 0
    assert [(b.backend.name, b.mode) for b in balancer.backends()] == [("web-1", "draining")]
    with pytest.raises(towpath.NotFoundError):
        balancer.drain("web-2")
    with pytest.raises(ValueError):
        balancer.drain("web-1;show stat")
    balancer.remove("web-1")
    assert balancer.backends() == []


def test_haproxy_rolls(tmp_path: Path) -> None:
    (tmp_path / "haproxy.cfg").write_text(
        f"""global
 stats socket {tmp_path}/api mode 600 level admin
defaults
 timeout connect 5s
 timeout client 5s
 timeout server 5s
frontend front
 bind unix@{tmp_path}/front
 default_backend web
backend web
 balance roundrobin
"""
    )
    process = started(["haproxy", "-db", "-f", f"{tmp_path}/haproxy.cfg"], (tmp_path / "api").exists)
    try:
        config = towpath.haproxy.HaProxy(
            backend="web",
            socket=f"{tmp_path}/api",
            server=towpath.haproxy.AddedServer(maxconn=10),
        )
        roll(towpath.balancer(config))
    finally:
        process.terminate()
        process.wait()


def test_nginx_rolls(tmp_path: Path) -> None:
    (tmp_path / "web.conf").write_text("server 127.0.0.1:9 down;\n")
    paths = " ".join(f"{n}_temp_path {tmp_path}/{n};" for n in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (tmp_path / "nginx.conf").write_text(
        f"""pid {tmp_path}/pid; error_log {tmp_path}/log; events {{}}
http {{ access_log off; {paths} upstream web {{ include {tmp_path}/web.conf; }}
 server {{ listen unix:{tmp_path}/front; location / {{ proxy_pass http://web; }} }} }}
"""
    )

    def ready() -> bool:
        return (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text())

    process = started(["nginx", "-g", "daemon off;", "-c", f"{tmp_path}/nginx.conf"], ready)
    try:
        config = towpath.nginx.Nginx(
            file=f"{tmp_path}/web.conf",
            conf=f"{tmp_path}/nginx.conf",
            pid_file=f"{tmp_path}/pid",
            server=towpath.nginx.ServerOptions(weight=2),
        )
        roll(towpath.balancer(config))
    finally:
        process.terminate()
        process.wait()
