"""Codes of languages."""


def primary_language(tag: str) -> str | None:
    """Return the shortest code of a tag's language: `en` for eng, en-GB and en. None: unknown."""
    import langcodes
    from langcodes.tag_parser import LanguageTagError

    try:
        return langcodes.Language.get(tag).language
    except LanguageTagError:
        return None
