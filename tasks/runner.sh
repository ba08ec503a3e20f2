#!/bin/sh
# Converts the file `input` of the working directory with ffmpeg, and checks that all of it was.
#
#   sh runner.sh FFMPEG_ARGUMENT...     the arguments between ffmpeg's input and its output
#   OUTPUT           file to write, such as output.mp3
#   SOURCE_SECONDS   seconds the output must have; empty: the source does not say
#
# Exits with ffmpeg's status where it failed, 65 (EX_DATAERR) where the check did, 127 without ffmpeg.
# An empty file `seconds-7.013` tells how many seconds were written.
set -u

# The same as FORMATS in probe.py. No playlist is among them: they open other files.
FORMATS=aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,mxf,ogg,tta,w64,wav,wv

fail() {
    status=$1
    shift
    printf 'runner: %s\n' "$*" >&2
    exit "$status"
}

# "120.07" -> 120070000. The 1 in front keeps zeros from being read as octal.
microseconds() {
    case $1 in
        *.*) whole=${1%%.*} fraction=${1#*.}000000 ;;
        *) whole=$1 fraction=000000 ;;
    esac
    while [ ${#fraction} -gt 6 ]; do fraction=${fraction%?}; done
    echo $((${whole:-0} * 1000000 + 1$fraction - 1000000))
}

# 120070000 3 -> "120.070"
seconds() {
    fraction=$((1000000 + $1 % 1000000))
    fraction=${fraction#1}
    while [ ${#fraction} -gt "$2" ]; do fraction=${fraction%?}; done
    echo "$(($1 / 1000000)).$fraction"
}

# The last out_time_us that ffmpeg reported; it says N/A where it wrote nothing.
written_microseconds() {
    written=0
    while IFS='=' read -r key value; do
        case $key=$value in
            out_time_us=*[!0-9]* | out_time_us=) ;;
            out_time_us=*) written=$value ;;
        esac
    done <progress
    echo "$written"
}

: "${OUTPUT:?runner: OUTPUT must name the file to write}"
SOURCE_SECONDS=${SOURCE_SECONDS-}
case $SOURCE_SECONDS in
    *[!0-9.]* | *.*.* | .) fail 64 "SOURCE_SECONDS is '$SOURCE_SECONDS', not decimal seconds" ;;
esac
command -v ffmpeg >/dev/null || fail 127 "ffmpeg is not on this node's PATH ($PATH)"
rm -f progress seconds-* "./$OUTPUT"

# Where no length tells, any error in reading or decoding must stop ffmpeg: else it skips what it
# cannot read, and ends well.
strict=
[ -n "$SOURCE_SECONDS" ] || strict=-xerror

ffmpeg -hide_banner -nostdin -y -loglevel warning $strict \
    -protocol_whitelist file -format_whitelist "$FORMATS" -i input \
    "$@" -progress progress "$OUTPUT"
status=$?
[ "$status" -eq 0 ] || fail "$status" "ffmpeg failed with status $status"

written=$(written_microseconds)
: >"seconds-$(seconds "$written" 3)"
[ -s "$OUTPUT" ] || fail 65 "ffmpeg wrote nothing into $OUTPUT"
[ -n "$SOURCE_SECONDS" ] || exit 0

expected=$(microseconds "$SOURCE_SECONDS")
tolerance=$((expected / 1000))
[ "$tolerance" -ge 500000 ] || tolerance=500000
converted="$(seconds "$written" 2) s were converted of $(seconds "$expected" 2) s"
[ $((expected - written)) -le "$tolerance" ] || fail 65 "$converted: the source is cut short"
[ $((written - expected)) -le "$tolerance" ] || fail 65 "$converted: the source is longer than it says"
