"""Writes what ansible-playbook did, one JSON line per event, to the file named by TOWPATH_RECORD."""

import json
import os

from ansible.plugins.callback import CallbackBase

TEXTS = ("debug", "fail", "assert", "set_stats")


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "recorder"

    def note(self, status, result):
        task = result._task
        value = result._result
        action = task.action.split(".")[-1]
        line = {"task": task.get_name(), "host": result._host.get_name(), "status": status}
        if action in TEXTS and "msg" in value and "results" not in value and status != "skipped":
            line["msg"] = value["msg"]
        if "results" in value and task.loop:
            line["items"] = [
                {k: r[k] for k in ("item", "msg", "skipped", "failed", "changed") if k in r and (k != "msg" or action in TEXTS)}
                for r in value["results"]
            ]
        with open(os.environ["TOWPATH_RECORD"], "a") as f:
            f.write(json.dumps(line, default=str) + "\n")

    def v2_runner_on_ok(self, result, **_):
        self.note("changed" if result._result.get("changed") else "ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.note("ignored" if ignore_errors else "failed", result)

    def v2_runner_on_skipped(self, result):
        self.note("skipped", result)

    def v2_runner_on_unreachable(self, result):
        self.note("unreachable", result)
