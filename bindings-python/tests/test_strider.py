"""Webhooks and the set-up of Strider: the parts beside its deployer. What they do is tested in Rust."""

import hashlib
import hmac
import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from typing import List, Optional

import pytest

import towpath
from towpath import strider, strider_tools

SECRET = "shared between both"
PAYLOAD = {"ref": "refs/heads/master", "after": "4b825dc642cb", "repository": {"full_name": "acme/web"}}


def signed(body: bytes, secret: str = SECRET) -> str:
    return "sha1=" + hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()


def test_a_signed_push_is_read() -> None:
    body = json.dumps(PAYLOAD).encode()
    push = strider_tools.verify({"X-Hub-Signature": signed(body)}, body, SECRET)
    assert (push.from_, push.project, push.branch, push.commit) == ("github", "acme/web", "master", "4b825dc642cb")
    assert push.skip is False and push.test_exit_code is None


def test_striders_own_webhook_is_read() -> None:
    tested = json.dumps({"project": "acme/web", "commit_id": "4b825dc", "branch": "master", "test_exitcode": 1})
    form = urllib.parse.urlencode({"payload": tested}, quote_via=urllib.parse.quote).encode()
    body = json.dumps({"payload": tested}).encode()
    push = strider_tools.verify([("x-hub-signature", signed(form))], body, SECRET)
    assert (push.from_, push.test_exit_code) == ("strider", 1)


def test_a_signature_that_does_not_fit_is_denied() -> None:
    body = json.dumps(PAYLOAD).encode()
    with pytest.raises(towpath.DeniedError):
        strider_tools.verify({"x-hub-signature": signed(body, "guessed")}, body, SECRET)
    with pytest.raises(towpath.UnsupportedError):
        headers = {"x-hub-signature": signed(body), "x-github-event": "ping"}
        strider_tools.verify(headers, body, SECRET)


def post(address: str, body: bytes, signature: str) -> int:
    headers = {"x-hub-signature": signature, "content-type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://{address}/", body, headers)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_webhooks_hand_over_pushes_and_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    body = json.dumps(PAYLOAD).encode()
    with strider_tools.Webhooks("127.0.0.1:0", secret={"env": "HOOK_SECRET"}, max_body_bytes=1000) as pushes:
        assert post(pushes.address, body, signed(body, "guessed")) == 401
        assert post(pushes.address, b"x" * 2000, signed(body)) == 413
        assert post(pushes.address, body, signed(body)) == 204
        push = pushes.next()
        assert push is not None and push.commit == "4b825dc642cb"
        cancel = towpath.Cancel()
        ended: List[Optional[strider_tools.Push]] = []
        waiting = threading.Thread(target=lambda: ended.append(pushes.next(cancel=cancel)))
        waiting.start()
        cancel.set()
        waiting.join()
        assert ended == [None]
        address = pushes.address
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://{address}/")
    with pytest.raises(towpath.NotFoundError):
        strider_tools.Webhooks("127.0.0.1:0", secret={"env": "NO_SUCH_VARIABLE"})
    with pytest.raises(towpath.InvalidInputError):
        strider_tools.Webhooks("nowhere", secret={"env": "HOOK_SECRET"})


def test_a_wrong_config_or_project_is_refused() -> None:
    with pytest.raises(towpath.InvalidInputError, match="brnach"):
        strider.Strider(url="https://ci", user="o", password={"env": "X"}, project="a/b", brnach="x")  # type: ignore[call-arg]
    config = strider.Strider(url="https://ci.example.com", user="ops", password={"env": "X"}, project="acme/web")
    with pytest.raises(towpath.InvalidInputError):
        strider_tools.set_up(config, {"display_name": "x"})
