"""How many of very many to ask for at once."""

PART = 40  # a page is a fortieth of what is listed: buffers do not count beside what is kept of it


def page_size(count: int, *, least: int, most: int) -> int:
    return min(max(least, count // PART), most)
