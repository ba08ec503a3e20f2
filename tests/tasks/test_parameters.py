import re
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.media.presets import PRESETS
from tasks.parameters import Cleanup, Limits, Node, Output, Pool, Request, Run


@pytest.mark.parametrize(
    "prefix", ["", "talks", "talks/", "talks/2026", "it's é", ".hidden", "a..b", "x" * 200]
)
def test_a_prefix_that_is_a_folder_is_accepted(prefix: str) -> None:
    assert Output(prefix=prefix).prefix == prefix


@pytest.mark.parametrize(
    "prefix",
    ["/talks", "a//b", "a\\b", "..", "../output2", "a/./b", "a/..", ".", "a\nb", "x" * 201],
)
def test_a_prefix_outside_the_container_is_rejected(prefix: str) -> None:
    with pytest.raises(ValidationError, match="prefix"):
        Output(prefix=prefix)


@pytest.mark.parametrize("name", ["abc", "a-b-c", "1" * 63])
def test_a_container_name_that_storage_allows_is_accepted(name: str) -> None:
    assert Cleanup(container=name).container == name


@pytest.mark.parametrize("name", ["ab", "Abc", "a--b", "-abc", "abc-", "a_c", "1" * 64, "abc\n"])
def test_a_container_name_that_storage_does_not_allow_is_rejected(name: str) -> None:
    with pytest.raises(ValidationError, match="container"):
        Output(container=name)


def test_options_are_split_into_words() -> None:
    assert Output(options=["-ar 44100", "-ac", "1"]).options == ["-ar", "44100", "-ac", "1"]


@pytest.mark.parametrize("options", ["-ar 44100", None, [1], [None], {"-ar": 1}])
def test_options_that_are_not_a_list_of_words_are_rejected_with_the_field(options: Any) -> None:
    with pytest.raises(ValidationError, match=r"options(.|\n)*should be a valid"):
        Output(options=options)


def test_one_preset_needs_no_list_and_the_form_offers_a_list_of_choices() -> None:
    assert Output.model_validate({"presets": "flac"}) == Output(presets=["flac"])
    schema = Output.model_json_schema()["properties"]["presets"]
    assert (schema["type"], schema["items"]["enum"]) == ("array", list(PRESETS))
    assert (schema["default"], schema["minItems"], schema["uniqueItems"]) == (["mp3"], 1, True)


def test_an_option_that_one_preset_does_not_support_is_rejected_with_both_names() -> None:
    with pytest.raises(ValidationError, match="-crf is for video, but preset flac makes no video"):
        Output(presets=["webm", "flac"], options=["-crf", "20"])


def test_chosen_presets_have_the_options_and_a_fixed_order() -> None:
    one, other = Output(presets=["flac", "mp3"], options=["-ar", "44100"]).chosen
    assert (one.name, other.name) == ("mp3", "flac")
    assert one.arguments[-2:] == other.arguments[-2:] == ("-ar", "44100")


def test_an_option_that_the_preset_does_not_support_is_rejected() -> None:
    with pytest.raises(ValidationError, match="-crf is for video"):
        Output(options=["-crf", "20"])


def test_a_pool_needs_nodes_unless_it_exists() -> None:
    assert Pool(id="warm", spot_nodes=0).spot_nodes == 0
    with pytest.raises(ValidationError, match=r"set pool\.spot_nodes or pool\.dedicated_nodes"):
        Pool(spot_nodes=0)


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (Limits, {"deadline_minutes": 0}),
        (Limits, {"deadline_minutes": 7 * 24 * 60}),
        (Limits, {"wave_files": 1001}),
        (Limits, {"lock_wait_seconds": -1}),
        (Pool, {"id": "no spaces"}),
        (Pool, {"vm_size": ""}),
        (Pool, {"slots_per_node": -1}),
        (Output, {"presets": ["mp4"]}),
        (Output, {"presets": []}),
        (Output, {"presets": ["mp3", "mp3"]}),
        (Output, {"pre": "mp3"}),
    ],
)
def test_a_value_out_of_range_or_an_unknown_field_is_rejected_with_its_name(
    model: type[Any], values: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError, match=next(iter(values))):
        model(**values)


@pytest.mark.parametrize(
    ("model", "values", "rule"),
    [
        (
            Output,
            {"container": "Bad_Name"},
            "'Bad_Name' is not a valid container name: use lower-case",
        ),
        (Output, {"container": "line\n"}, "is not a valid container name"),
        (Output, {"prefix": "/a"}, "is not a valid folder in a container: use names"),
        (Pool, {"id": "no spaces"}, "is not a valid pool id: use letters, digits"),
        (Pool, {"identity": "me", "id": "a"}, "is not the resource id of a managed identity"),
        (Node, {"image": "Ubuntu 22"}, "is not an image family such as ubuntu"),
        (Node, {"agent": "el 9"}, "is not a node agent such as"),
        (Node, {"ffmpeg": "snap"}, "is not 'apt', 'image' or az://container/blob"),
        (Node, {"subnet_id": "lan"}, "is not the resource id of a subnet"),
        (Run, {"account": "My account"}, "is not a valid block name: use lower-case letters"),
    ],
)
def test_malformed_text_is_rejected_with_the_rule(
    model: type[Any], values: dict[str, Any], rule: str
) -> None:
    with pytest.raises(ValidationError, match=rule):
        model(**values)


def test_prefects_form_has_the_pattern_too() -> None:
    container = Output.model_json_schema()["properties"]["container"]
    assert re.search(container["pattern"], "my-output")
    assert not re.search(container["pattern"], "Bad_Name")


def test_setting_one_field_keeps_the_defaults_of_the_others() -> None:
    request = Request.model_validate({"sources": ["a"], "pool": {"spot_nodes": 1}})
    assert request.pool == Pool(spot_nodes=1)
    assert request.limits == Limits()


def test_every_parameter_has_a_description() -> None:
    for model in (Output, Run, Pool, Node, Limits, Cleanup):
        assert all(field.description for field in model.model_fields.values())
