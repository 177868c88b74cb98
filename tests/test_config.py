"""Settings are checked by name and by value: one that is silently ignored is worse than none."""

from __future__ import annotations

import pytest

from flowgrid.config import GIB, MIB, SETTINGS, Config, parse_bool, parse_bytes
from flowgrid.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "size"),
    [("512", 512), ("64k", 64 << 10), ("1.5g", 3 * GIB // 2), ("8GiB", 8 * GIB), ("2 mb", 2 * MIB)],
)
def test_sizes_have_units_of_1024(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "many", "4 apples", "-1", "1e3"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no size"):
        parse_bytes(text)


def test_truth_has_several_spellings_and_no_others() -> None:
    assert all(map(parse_bool, ["true", "YES", "1", "on"]))
    assert not any(map(parse_bool, ["false", "No", "0", "off"]))
    with pytest.raises(ValueError, match="neither"):
        parse_bool("perhaps")


def test_settings_are_read_by_their_dotted_names() -> None:
    config = Config.parse({"executor.memory": "4g", "planner.force_exchanges": True})
    assert config.executor_memory == 4 * GIB
    assert config.planner_force_exchanges is True
    assert Config.parse(None) == Config()


def test_an_unknown_setting_is_named_with_the_near_ones() -> None:
    with pytest.raises(ConfigError, match=r"'executor\.memry'.*'executor\.memory'"):
        Config.parse({"executor.memry": "4g"})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("task.attempts_max", "several", "a whole number"),
        ("submit.timeout_s", "soon", "a number"),
        ("executor.memory", "a lot", "no size"),
        ("planner.force_exchanges", "perhaps", "neither"),
        ("planner.partitions", "-1", "negative"),
    ],
)
def test_a_value_that_does_not_parse_is_named_with_what_is_wanted(
    name: str, value: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Config.parse({name: value})
    assert name in str(caught.value)


def test_what_was_changed_survives_the_wire() -> None:
    config = Config.parse({"executor.memory": "4g", "executor.heartbeat_timeout_s": 2.5})
    conf = config.to_conf()
    assert set(conf) == {"executor.memory", "executor.heartbeat_timeout_s"}
    assert Config.parse(conf) == config


def test_every_setting_says_what_it_means() -> None:
    for name, setting in SETTINGS.items():
        assert setting.help, name
        assert "." in name, f"{name} needs a section"


def test_folders_for_blocks_are_one_or_several_with_commas_between_them() -> None:
    def folders(text: str) -> tuple[str, ...]:
        return Config.parse({"executor.local_dir": text}).local_dirs

    assert folders("/mnt/a") == ("/mnt/a",)
    assert folders("/mnt/a, /mnt/b c,") == ("/mnt/a", "/mnt/b c")
    assert folders("") == ()
