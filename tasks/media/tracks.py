"""Which sound tracks of a source an output contains. Pure functions."""

from collections.abc import Sequence
from dataclasses import replace

from tasks.media.languages import primary_language
from tasks.media.presets import Preset
from tasks.media.streams import NO_SOUND, Media, Sound, taken_sounds

_LONGEST_TITLE = 40  # characters of a track's title in a report


def with_main_track(media: Media, languages: Sequence[str]) -> Media:
    """Return the media with its sound tracks ordered: the one to convert comes first.

    It is in the first of `languages` that the source has. Among the tracks of a language, it is not
    a commentary, it has the default flag, it has most channels, or it is the first, in this order.
    """
    wanted = [primary_language(language) for language in languages]
    ranked = sorted(media.sounds, key=lambda sound: (_rank(sound, wanted), _merit(sound)))
    return replace(media, sounds=tuple(ranked))


def _rank(sound: Sound, wanted: Sequence[str | None]) -> int:
    language = primary_language(sound.language)
    return wanted.index(language) if language and language in wanted else len(wanted)


def _merit(sound: Sound) -> tuple[bool, bool, int, int]:
    return sound.is_commentary, not sound.is_default, -sound.channels, sound.track


def track_warning(media: Media, preset: Preset) -> str | None:
    """Return a sentence if the output has no sound, or not in a language that the user prefers."""
    if media.tracks and not media.sounds:
        return f"The output has no sound: {NO_SOUND}."
    return _language_warning(media, preset)


def _language_warning(media: Media, preset: Preset) -> str | None:
    taken = taken_sounds(media, preset)
    wanted = [primary_language(language) for language in preset.choices.languages]
    if not (wanted and taken) or _rank(taken[0], wanted) < len(wanted):
        return None
    found = ", ".join(sound.language or "unknown" for sound in media.sounds)
    return (
        f"No sound track is in {' or '.join(preset.choices.languages)}. Its languages are: {found}."
        f" The output has {_described(taken[0], media)}."
    )


def track_note(media: Media, preset: Preset) -> str | None:
    """Return which sound track the output has, if the source has several."""
    taken = taken_sounds(media, preset)
    if not taken or media.tracks < 2:  # noqa: PLR2004  a choice
        return None
    if len(taken) > 1:
        return f"all {len(taken)} sound tracks"
    return _described(taken[0], media)


def _described(sound: Sound, media: Media) -> str:
    title = " ".join("".join(c if c.isprintable() else " " for c in sound.title).split())
    channels = {1: "mono", 2: "stereo"}.get(sound.channels, f"{sound.channels} channels")
    facts = [sound.language, channels, f"“{title[:_LONGEST_TITLE]}”" if title else ""]
    return f"sound track {sound.track + 1} of {media.tracks} ({', '.join(filter(None, facts))})"
