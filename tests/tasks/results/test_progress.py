from tasks.results.listeners import listening, publish


def test_a_listener_receives_news_only_during_its_block() -> None:
    heard: list[object] = []
    with listening(heard.append):
        publish("one")
        with listening(heard.append):
            publish("two")
    publish("three")
    assert heard == ["one", "two", "two"]
