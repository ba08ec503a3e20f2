import re
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.media.presets import PRESETS
from tasks.parameters import Cleanup, Limits, Node, Output, Pool, Request, Run


@pytest.mark.parametrize(
    "prefix", ["", "talks", "talks/", "talks/2026", "it's é", ".hidden", "a..b", "x" * 200]
)
def test_a_prefix_is_a_folder(prefix: str) -> None:
    assert Output(prefix=prefix).prefix == prefix


@pytest.mark.parametrize(
    "prefix",
    ["/talks", "a//b", "a\\b", "..", "../output2", "a/./b", "a/..", ".", "a\nb", "x" * 201],
)
def test_a_prefix_that_leads_elsewhere_is_refused(prefix: str) -> None:
    with pytest.raises(ValidationError, match="prefix"):
        Output(prefix=prefix)


@pytest.mark.parametrize("name", ["abc", "a-b-c", "1" * 63])
def test_a_containers_name_is_as_storage_takes_it(name: str) -> None:
    assert Cleanup(container=name).container == name


@pytest.mark.parametrize("name", ["ab", "Abc", "a--b", "-abc", "abc-", "a_c", "1" * 64, "abc\n"])
def test_a_containers_name_that_storage_refuses_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="container"):
        Output(container=name)


def test_options_are_split_into_words() -> None:
    assert Output(options=["-ar 44100", "-ac", "1"]).options == ["-ar", "44100", "-ac", "1"]


@pytest.mark.parametrize("options", ["-ar 44100", None, [1], [None], {"-ar": 1}])
def test_options_that_are_no_list_of_words_are_refused_by_name(options: Any) -> None:
    with pytest.raises(ValidationError, match=r"options(.|\n)*should be a valid"):
        Output(options=options)


def test_one_preset_may_stand_without_a_list_and_the_form_offers_a_list_of_choices() -> None:
    assert Output.model_validate({"presets": "flac"}) == Output(presets=["flac"])
    schema = Output.model_json_schema()["properties"]["presets"]
    assert (schema["type"], schema["items"]["enum"]) == ("array", list(PRESETS))
    assert (schema["default"], schema["minItems"], schema["uniqueItems"]) == (["mp3"], 1, True)


def test_an_option_that_one_of_the_presets_does_not_take_is_refused_by_both_names() -> None:
    with pytest.raises(ValidationError, match="-crf is for video, and preset flac makes no video"):
        Output(presets=["webm", "flac"], options=["-crf", "20"])


def test_the_chosen_presets_have_the_options_and_come_in_one_order() -> None:
    one, other = Output(presets=["flac", "mp3"], options=["-ar", "44100"]).chosen
    assert (one.name, other.name) == ("mp3", "flac")
    assert one.arguments[-2:] == other.arguments[-2:] == ("-ar", "44100")


def test_an_option_that_the_preset_does_not_take_is_refused() -> None:
    with pytest.raises(ValidationError, match="-crf is for video"):
        Output(options=["-crf", "20"])


def test_a_pool_needs_nodes_unless_it_is_there_already() -> None:
    assert Pool(id="warm", spot_nodes=0).spot_nodes == 0
    with pytest.raises(ValidationError, match="set spot_nodes or dedicated_nodes"):
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
        (Pool, {"slots_per_node": 0}),
        (Output, {"presets": ["mp4"]}),
        (Output, {"presets": []}),
        (Output, {"presets": ["mp3", "mp3"]}),
        (Output, {"pre": "mp3"}),
    ],
)
def test_what_is_out_of_bounds_or_unknown_is_refused_by_name(
    model: type[Any], values: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError, match=next(iter(values))):
        model(**values)


@pytest.mark.parametrize(
    ("model", "values", "rule"),
    [
        (Output, {"container": "Bad_Name"}, "'Bad_Name' is not the name of a container: small"),
        (Output, {"container": "line\n"}, "is not the name of a container"),
        (Output, {"prefix": "/a"}, "is not a folder in a container"),
        (Pool, {"id": "no spaces"}, "is not the id of a pool: letters, digits"),
        (Pool, {"identity": "me", "id": "a"}, "is not the resource id of a managed identity"),
        (Node, {"image": "Ubuntu 22"}, "is not a family of images, such as ubuntu"),
        (Node, {"agent": "el 9"}, "is not a node agent, such as"),
        (Node, {"ffmpeg": "snap"}, "is not 'apt', 'image' or an az://container/blob"),
        (Node, {"subnet_id": "lan"}, "is not the resource id of a subnet"),
        (Run, {"account": "My account"}, "is not the name of a block: small letters"),
    ],
)
def test_a_text_that_is_spelled_wrong_is_refused_with_the_rule(
    model: type[Any], values: dict[str, Any], rule: str
) -> None:
    with pytest.raises(ValidationError, match=rule):
        model(**values)


def test_the_form_checks_the_spelling_too() -> None:
    container = Output.model_json_schema()["properties"]["container"]
    assert re.search(container["pattern"], "my-output")
    assert not re.search(container["pattern"], "Bad_Name")


def test_one_value_leaves_all_others_at_their_defaults() -> None:
    request = Request.model_validate({"sources": ["a"], "pool": {"spot_nodes": 1}})
    assert request.pool == Pool(spot_nodes=1)
    assert request.limits == Limits()


def test_every_parameter_has_a_description() -> None:
    for model in (Output, Pool, Limits, Cleanup):
        assert all(field.description for field in model.model_fields.values())
