#!/bin/sh
# Converts the file `input` in the working directory with ffmpeg, and checks that the output is whole.
#
# Settings, from the environment:
#   FFMPEG_ARGUMENTS   ffmpeg's arguments between input and output, one per line
#   OUTPUT             file to write in the working directory, such as output.mp3
#   SOURCE_SECONDS     seconds that the output must have; empty: the source does not declare them
#
# Exit status: 65 (EX_DATAERR) if ffmpeg rejects the source or the check fails, that of ffmpeg if it
# crashes or the node is at fault, 64 (EX_USAGE) for a wrong setting, 66 (EX_NOINPUT) without
# `input`, 127 without ffmpeg.
# The name of an empty file, such as `seconds-7.013`, states how many seconds were written.
# Requires only sh (dash, busybox), df, od, rm and wc. The shell never parses a value a second time.
set -u

# The start task copies an ffmpeg from storage into this folder.
PATH=${AZ_BATCH_NODE_SHARED_DIR:+$AZ_BATCH_NODE_SHARED_DIR/bin:}$PATH

# The same values as in input_limits.py. Playlists are excluded: they open other files.
MOST_PIXELS=134217728
FORMATS=aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,mxf,ogg,tta,w64,wav,wv

line_end='
'

fail() {
    status=$1
    shift
    printf 'runner: %s\n' "$*" >&2
    exit "$status"
}

# Functions return a value in a variable of the same name. For a short file, subshells would take
# longer than the checks.

# "120.07" -> 120070000. The leading 1 keeps the shell from reading zeros as an octal number.
microseconds() {
    case $1 in
        *.*) whole=${1%%.*} fraction=${1#*.}000000 ;;
        *) whole=$1 fraction=000000 ;;
    esac
    while [ ${#fraction} -gt 6 ]; do fraction=${fraction%?}; done
    while [ "${whole#0}" != "$whole" ]; do whole=${whole#0}; done
    microseconds=$((${whole:-0} * 1000000 + 1$fraction - 1000000))
}

# 120070000 3 -> "120.070"
seconds() {
    fraction=$((1000000 + $1 % 1000000))
    fraction=${fraction#1}
    while [ ${#fraction} -gt "$2" ]; do fraction=${fraction%?}; done
    seconds=$(($1 / 1000000)).$fraction
}

# The last out_time_us that ffmpeg reported. It is N/A if ffmpeg wrote nothing.
reported() {
    reported=0
    while IFS='=' read -r key value; do
        case $key=$value in
            out_time_us=*[!0-9]* | out_time_us=) ;;
            out_time_us=*) reported=$value ;;
        esac
    done <progress
}

# The length in the output's header ("  Duration: 00:00:10.00, start: …"), in hundredths of a second.
print_declared() {
    ffmpeg -hide_banner -nostdin -protocol_whitelist file -i "file:$OUTPUT" 2>&1 |
        while IFS= read -r line; do
            case $line in
                '  Duration: '[0-9]*)
                    line=${line#  Duration: }
                    line=${line%%,*}
                    hours=${line%%:*} line=${line#*:}
                    minutes=${line%%:*}
                    microseconds "${line#*:}"
                    echo $((microseconds + (${hours#0} * 60 + ${minutes#0}) * 60000000))
                    return
                    ;;
            esac
        done
}

# Compare a number of microseconds with the expected one. The upper tolerance is larger, because a
# source may be longer than it declares (the last packet of a transport stream has no known length).
is_too_short() {
    tolerance=$((expected / 1000))
    [ "$tolerance" -ge 500000 ] || tolerance=500000
    [ $((expected - $1)) -gt "$tolerance" ]
}

is_too_long() {
    [ $(($1 - expected)) -gt "$room" ]
}

# A small file may decode into a huge one. A conversion may use three quarters of the memory and half
# of the free disk space. A limit that the shell or the system does not support is not set.
limit_memory() {
    while read -r name kib _; do
        [ "$name" = MemTotal: ] || continue
        ulimit -v $((kib / 4 * 3))
        break # each character that `read` reads is a system call
    done 2>/dev/null </proc/meminfo
}

limit_output() {
    table=$(df -P -k .)
    read -r _ _ _ blocks _ <<END
${table##*"$line_end"}
END
    # N KiB are 2N blocks of 512 bytes, so a limit of N blocks is half of the free space.
    case $blocks in
        '' | *[!0-9]*) blocks= ;;
        *) ulimit -f "$blocks" 2>/dev/null ;;
    esac
}

fills_disk() {
    [ -n "$blocks" ] && [ -f "$OUTPUT" ] && [ $(($(wc -c <"$OUTPUT") / 512 + 2048)) -gt "$blocks" ]
}

# Whether the file ended inside a packet. ffmpeg only warns about that.
ended_early() {
    while IFS= read -r line; do
        case $line in
            *'corrupt input packet'* | *'File ended prematurely'* | *'partial file'*) return 0 ;;
        esac
    done <messages
    return 1
}

# WAV and AVI declare their size in the first bytes, and FFmpeg ignores it. Recorders that cannot seek
# back write 0, or about 2 or 4 GiB. Others miscount slightly.
riff_is_short() {
    # shellcheck disable=SC2046
    set -- $(od -A n -t x1 -N 8 input)
    [ "$#" -eq 8 ] && [ "$1$2$3$4" = 52494646 ] || return 1
    declared=$((0x$8$7$6$5 + 8))
    size=$(($(wc -c <input)))
    [ "$declared" -lt 2147479552 ] && [ $((declared - size)) -gt $((4096 + declared / 1000)) ]
}

[ -n "${OUTPUT-}" ] || fail 64 "OUTPUT must name the file to write"
# Without the preset's arguments ffmpeg would convert to something else, without an error.
[ -n "${FFMPEG_ARGUMENTS-}" ] || fail 64 "FFMPEG_ARGUMENTS must hold the preset's arguments"
# Split at line ends only, without pathname expansion.
set -f
IFS=$line_end
# shellcheck disable=SC2086
set -- $FFMPEG_ARGUMENTS
unset IFS
set +f
SOURCE_SECONDS=${SOURCE_SECONDS-}
case $SOURCE_SECONDS in
    *[!0-9.]* | *.*.* | .) fail 64 "SOURCE_SECONDS is '$SOURCE_SECONDS', not decimal seconds" ;;
esac
command -v ffmpeg >/dev/null || fail 127 "ffmpeg is not on this node's PATH ($PATH)"
[ -f input ] || fail 66 "no file named input in $PWD"
for left in progress messages seconds-* "./$OUTPUT"; do
    if [ -e "$left" ] || [ -h "$left" ]; then rm -f "$left"; fi
done

if [ -n "$SOURCE_SECONDS" ]; then
    microseconds "$SOURCE_SECONDS"
    expected=$microseconds
    [ "$expected" -lt 200000000 ] && room=2000000 || room=$((expected / 100))
    # Stop ffmpeg one second above the upper tolerance: that is enough to detect a longer source.
    seconds $((expected + room + 1000000)) 3
    set -- "$@" -t "$seconds"
fi
limit_memory
limit_output

# ffmpeg logs to stderr. If the expected length is not known, only its warnings show that a source is
# cut short, so ffmpeg writes them to a file too. ffmpeg skips frames that it cannot decode, such as
# the tags at the end of old MP3 files. It fails if more than a tenth cannot be decoded.
[ -n "$SOURCE_SECONDS" ] || export FFREPORT=file=messages:level=24
ffmpeg -hide_banner -nostdin -y -loglevel warning \
    -max_error_rate 0.1 -max_pixels "$MOST_PIXELS" -protocol_whitelist file -format_whitelist "$FORMATS" -i file:input \
    "$@" -progress progress "file:$OUTPUT"
status=$?
if [ "$status" -ne 0 ]; then
    ! fills_disk || fail "$status" "the output takes more than half of the free disk space"
    case $status in
        126 | 127 | 13[2-9] | 143 | 15[23]) ;; # it could not start, or a signal ended it
        228 | 244 | 251) ;;                    # ENOSPC, ENOMEM, EIO: the node is at fault
        *) fail 65 "ffmpeg failed with status $status" ;;
    esac
    fail "$status" "ffmpeg failed with status $status"
fi

reported
written=$reported
if [ -n "$SOURCE_SECONDS" ]; then
    # The report stops at the start of the packet written last. In a film with a low frame rate that
    # is not the packet shown last, so the header of the output decides.
    if is_too_short "$written"; then
        declared=$(print_declared)
        written=${declared:-$written}
    fi
fi
seconds "$written" 3
: >"seconds-$seconds"

[ -s "$OUTPUT" ] || fail 65 "ffmpeg wrote nothing to $OUTPUT"
seconds "$written" 2
converted="$seconds s"
if riff_is_short; then
    fail 65 "$converted were converted: the source is cut short: it has $size of $declared bytes"
fi
if [ -z "$SOURCE_SECONDS" ]; then
    ! ended_early || fail 65 "$converted were converted: the source is cut short: it ends inside a packet"
    exit 0
fi
seconds "$expected" 2
converted="$converted of $seconds s were converted"
! is_too_short "$written" || fail 65 "$converted: the source is cut short"
! is_too_long "$written" || fail 65 "$converted: the source is longer than it declares"
