from dataclasses import replace

from tasks.results.listeners import listening, publish
from tasks.results.progress import Progress, headline


def test_a_listener_receives_news_only_during_its_block() -> None:
    heard: list[object] = []
    with listening(heard.append):
        publish("one")
        with listening(heard.append):
            publish("two")
    publish("three")
    assert heard == ["one", "two", "two"]


def test_the_time_left_is_shown_until_all_files_are_done() -> None:
    progress = Progress(files=3, converted=1, failed=1, running=1, nodes=1, seconds_left=64.0)
    assert headline(progress) == "2 of 3 files done, 1 failed, 1 running, 1 node, 1:04 left"
    ended = replace(progress, converted=2, running=0, seconds_left=0.0)
    assert headline(ended) == "3 of 3 files done, 1 failed, 0 running, 1 node"
