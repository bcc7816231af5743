"""Fields whose names are words of Python, and keys that are the user's own."""

from __future__ import annotations

import towpath
from towpath._data import Data


def test_a_field_that_python_has_a_word_for() -> None:
    config = towpath.packer.Packer(template="web.pkr.hcl", except_=["docker.web"])
    assert config.config["except"] == ["docker.web"]


def test_keys_of_a_free_mapping_stay_as_they_are() -> None:
    free = Data(class_=1)
    free.except_ = 2
    assert free == {"class_": 1, "except_": 2}
    assert getattr(free, "class_") == 1
