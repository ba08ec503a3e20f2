"""The filters that keep sound in time: silence stays silence, at the start too.

Without them, ffmpeg closes the gaps of a source in MP3, WAV and FLAC. Transcripts and subtitles
made from the output would not fit.
"""

# They never remove samples: a frame that overlaps the one before it starts at its end. A step of
# the clock that is backwards, or longer than a pause, is closed.
#   ld(0)  offset of the output's clock from the source's    ld(1)  end of the frame before
#   ld(2)  length of the gap before this frame               ld(3)  start of this frame
#   ld(4)  start of the sound, as the source declares it
# ffmpeg makes new filters when the format changes: their first frame continues the output.
# runner.sh replaces LATE and PAUSE, and follows the same rules when it reads what was decoded.
IN_TIME = (
    "asetpts='st(4,LATE)"
    ";if(eq(N,0),st(0,if(gt(PTS*TB,ld(4)+1),0,max(PTS,ld(4)/TB))-PTS))"
    ";st(2,PTS+ld(0)-ld(1))"
    ";if(gt(N,0)*(lt(ld(2)*TB,-0.1)+gt(ld(2)*TB,PAUSE)),st(0,ld(0)-ld(2));st(2,0))"
    ";st(3,ld(1)+max(ld(2),0));st(1,ld(3)+NB_SAMPLES/SR/TB);ld(3)'"
    ",aresample=async=1:first_pts=0,asetpts=N/SR/TB"
)
COUNTED = "asetpts=NAN"  # the last filter: ffmpeg counts samples where frames have no times
PAUSE_SECONDS = 600


def with_times(argument: str, *, late_seconds: float = 0) -> str:
    """Return a chain of filters as runner.sh fills it in."""
    return argument.replace("LATE", f"{late_seconds:.3f}").replace("PAUSE", str(PAUSE_SECONDS))
