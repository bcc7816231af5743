"""The README's pipeline: three spellings, one value."""

import os
import pathlib
import re
from typing import Any, Dict

import pytest

import towpath

TOP = pathlib.Path(__file__).resolve().parents[2]


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", (TOP / "README.md").read_text(), re.S)
    assert found, f"no {language} block in the README"
    return found.group(1)


def test_python_and_yaml_are_one_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TOP / "examples")
    building, running = block("python").split("\n\nprint(", 1)
    assert "p.run(" in running
    made: Dict[str, Any] = {}
    exec(building, made)
    from_yaml = towpath.Pipeline.from_yaml(block("yaml"), "README.md")

    def forget_digest(value: object) -> object:
        if isinstance(value, dict):
            return {k: "" if k == "digest" else forget_digest(v) for k, v in value.items()}
        return [forget_digest(v) for v in value] if isinstance(value, list) else value

    engine = towpath.Engine("memory:", base_dir=os.getcwd())
    engine.check(made["p"])
    assert forget_digest(made["p"].data()) == forget_digest(from_yaml.data())
