"""A push starts a pipeline whose release is a job of a Strider server, as `strider_push/main.rs`: python strider_push.py

Needs Node.js and npm: a simulator plays Strider, since the server is no longer published as a package.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import towpath
from towpath import strider, strider_tools

SIMULATOR = Path(__file__).resolve().parents[1] / "providers" / "strider" / "tests" / "sim"
USER, PASSWORD, HOOK = "ops@example.test", "correct-horse-battery", "shared-with-the-git-server"
GOOD, BAD = "4b825dc642cb6eb9a060e54bf8d69288fbee4904", "bad0c0ffee42cb6eb9a060e54bf8d69288fbee49"


def start(folder: Path) -> "tuple[subprocess.Popen[str], str]":
    """The simulator, with the npm packages that it needs in a folder. It ends with its standard input."""
    if shutil.which("npm") is None:
        sys.exit("install Node.js and npm first")
    shutil.copy(SIMULATOR / "package.json", folder)
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True)
    variables = {**os.environ, "NODE_PATH": str(folder / "node_modules"), "SIM_USER": USER, "SIM_PASSWORD": PASSWORD}
    program = ["node", str(SIMULATOR / "server.js")]
    server = subprocess.Popen(program, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    return server, f"http://127.0.0.1:{json.loads(server.stdout.readline())['port']}"


def send(simulator: str, to: str, secret: str, commit: str) -> str:
    """Lets the simulator play the Git server, too, that tells of a push."""
    payload = {"ref": "refs/heads/master", "after": commit, "repository": {"full_name": "acme/web"}}
    body = json.dumps({"to": f"http://{to}/", "secret": secret, "payload": payload}).encode()
    request = urllib.request.Request(f"{simulator}/_sim/push", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return str(answer.read().decode())


def branch(**scripts: str) -> "dict[str, object]":
    return {"active": True, "mirror_master": False, "plugins": [{"id": "custom", "config": scripts}]}


def show(event: towpath.Event) -> None:
    if event.event == "task_result" and event.task.startswith("phase "):
        print(f"  {event.task:<20} exit code {event.result['exit_code']}")
    elif event.event == "output":
        print(f"  {event.stream} | {event.line}")
    elif event.event == "rollout":
        print(event.phase, event.version[:7])


def main() -> int:
    folder = Path(tempfile.mkdtemp())
    server, url = start(folder)
    try:
        print(f"a simulator plays Strider at {url}: the server itself is no longer published")
        os.environ.update(STRIDER_PASSWORD=PASSWORD, HOOK_SECRET=HOOK)
        config = strider.Strider(
            url=url, user=USER, password={"env": "STRIDER_PASSWORD"}, project="acme/web", branch="release-{version}"
        )
        good = branch(prepare="echo fetching the dependencies", test="echo all tests passed", deploy="echo deployed")
        bad = branch(test="echo all tests passed", deploy="echo 'no space left on device' >&2; exit 28")
        project = {
            "display_name": "acme/web",
            "display_url": "https://git.example.test/acme/web",
            "provider": {"url": "https://git.example.test/acme/web.git"},
            "branches": {"release-*": good, f"release-{BAD}": bad},
        }
        for line in strider_tools.set_up(config, project):
            print("set up:", line)
        states = []
        with strider_tools.Webhooks("127.0.0.1:0", secret={"env": "HOOK_SECRET"}) as pushes:
            for commit in (GOOD, BAD):
                print("\nthe webhook is answered with", send(url, pushes.address, HOOK, commit))
                push = pushes.next()
                assert push is not None
                print(f"{push.commit[:7]} was pushed to {push.project} ({push.branch})")
                p = towpath.Pipeline("web")
                p.deploy("roll out", config, towpath.Release(service="web", version=push.commit), towpath.Inventory())
                report = p.run(f"sqlite:{folder / 'store.db'}", environment="live", on_event=show)
                print(f"run of {push.commit[:7]}: {report.state}")
                states.append(report.state)
            print("\na webhook with a forged signature is answered with", send(url, pushes.address, "guessed", GOOD))
        return 0 if states == ["done", "rolled_back"] else 1
    finally:
        assert server.stdin is not None
        server.stdin.close()
        server.wait()
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
