from tasks.azure.paging import page_size


def test_a_page_grows_with_the_listing_up_to_what_is_given_at_once() -> None:
    listed = (0, 10_000, 10_040, 100_000, 1_000_000)
    assert [page_size(n, least=250, most=5_000) for n in listed] == [250, 250, 251, 2_500, 5_000]
    requests = known = 0
    while known < 1_000_000:
        known += page_size(known, least=250, most=5_000)
        requests += 1
    assert requests < 350
