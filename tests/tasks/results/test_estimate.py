from records import a_conversion

from tasks.media.presets import PRESETS
from tasks.results.estimate import estimate


def test_nodes_boot_and_then_convert_on_all_their_slots() -> None:
    sound = [a_conversion(seconds=3600 * 40)] * 4
    found = estimate(sound, nodes=12, slots=2, price_per_node_hour=0.5)
    assert found.node_hours == 1 + 4 / 2
    assert found.cost == 1.5
    assert found.basis == (
        "5 minutes to boot for each of 12 nodes; sound at 40 times its length on a vCPU;"
        " without waiting for uploads"
    )


def test_without_a_price_there_is_no_cost() -> None:
    found = estimate([a_conversion(seconds=60)], nodes=1, slots=1, price_per_node_hour=0)
    assert found.cost is None


def test_film_takes_longer_and_what_is_not_known_is_said() -> None:
    webm = PRESETS["webm"]
    film = [a_conversion(preset=webm, seconds=1800), a_conversion(preset=webm)]
    found = estimate(film, nodes=0, slots=1, price_per_node_hour=0)
    assert found.node_hours == 1
    assert "film at 0.5 times" in found.basis
    assert "1 file left out for want of a length" in found.basis
