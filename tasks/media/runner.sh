#!/bin/sh
# Converts the file `input` of the working directory with ffmpeg, and checks that all of it was.
#
# It takes no arguments but these environment settings:
#   FFMPEG_ARGUMENTS   what goes between ffmpeg's input and its output, one a line
#   OUTPUT             file to write into the working directory, such as output.mp3
#   SOURCE_SECONDS     seconds the output must have; empty: the source does not say
#
# Exits with ffmpeg's status where it failed, 65 (EX_DATAERR) where the check did, 64 (EX_USAGE) for
# a bad setting, 127 without ffmpeg. An empty file `seconds-7.013` tells how many seconds were written.
# Needs no more than sh (dash, busybox), df, od and wc. Values are never parsed by the shell again.
set -u

# Where the start task puts a program that comes from storage.
PATH=${AZ_BATCH_NODE_SHARED_DIR:+$AZ_BATCH_NODE_SHARED_DIR/bin:}$PATH

# The same as in probe.py. No playlist is among them: they open other files.
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

# Functions answer in a variable of their own name: a subshell for each would take a short file longer
# than its checks do.

# "120.07" -> 120070000. The 1 in front keeps leading zeros from being read as octal.
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

# The last out_time_us that ffmpeg reported; it says N/A where it wrote nothing.
reported() {
    reported=0
    while IFS='=' read -r key value; do
        case $key=$value in
            out_time_us=*[!0-9]* | out_time_us=) ;;
            out_time_us=*) reported=$value ;;
        esac
    done <progress
}

# What the output's own header says ("  Duration: 00:00:10.00, start: …"), to the hundredth.
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

# Whether so many microseconds are too few, or far too many. Too many has more room: a source may
# last somewhat longer than it says (a transport stream's last packet is of unknown length).
is_too_short() {
    tolerance=$((expected / 1000))
    [ "$tolerance" -ge 500000 ] || tolerance=500000
    [ $((expected - $1)) -gt "$tolerance" ]
}

is_too_long() {
    [ $(($1 - expected)) -gt "$room" ]
}

# Small files may decode into vast ones. A conversion gets most of the machine's memory and half of
# what is free of the disk; what the shell or the system does not know of is not limited.
limit_memory() {
    while read -r name kib _; do
        [ "$name" = MemTotal: ] || continue
        ulimit -v $((kib / 4 * 3))
        break # each character is a system call
    done 2>/dev/null </proc/meminfo
}

limit_output() {
    table=$(df -P -k .)
    read -r _ _ _ blocks _ <<END
${table##*"$line_end"}
END
    # Half of so many KiB is as many blocks of 512 bytes.
    case $blocks in
        '' | *[!0-9]*) blocks= ;;
        *) ulimit -f "$blocks" 2>/dev/null ;;
    esac
}

fills_disk() {
    [ -n "$blocks" ] && [ -f "$OUTPUT" ] && [ $(($(wc -c <"$OUTPUT") / 512 + 2048)) -gt "$blocks" ]
}

# Whether ffmpeg met the end of the file in the midst of something. It only warns of that.
ended_early() {
    while IFS= read -r line; do
        case $line in
            *'corrupt input packet'* | *'File ended prematurely'* | *'partial file'*) return 0 ;;
        esac
    done <messages
    return 1
}

# WAV and AVI say in their first bytes how large they are, and FFmpeg overlooks it when they are not.
# Recorders that cannot go back leave 0 there, or some 2 or 4 GiB; others miscount by a little.
riff_is_short() {
    # shellcheck disable=SC2046
    set -- $(od -A n -t x1 -N 8 input)
    [ "$#" -eq 8 ] && [ "$1$2$3$4" = 52494646 ] || return 1
    declared=$((0x$8$7$6$5 + 8))
    size=$(($(wc -c <input)))
    [ "$declared" -lt 2147479552 ] && [ $((declared - size)) -gt $((4096 + declared / 1000)) ]
}

[ -n "${OUTPUT-}" ] || fail 64 "OUTPUT must name the file to write"
# Without a preset's arguments ffmpeg would make something else, and call it well.
[ -n "${FFMPEG_ARGUMENTS-}" ] || fail 64 "FFMPEG_ARGUMENTS must hold the preset's arguments"
# Split at line ends alone, and no names of files filled in: so no shell reads them.
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
[ -f input ] || fail 66 "there is no file named input in $PWD"
for left in progress messages seconds-* "./$OUTPUT"; do
    if [ -e "$left" ] || [ -h "$left" ]; then rm -f "$left"; fi
done

if [ -n "$SOURCE_SECONDS" ]; then
    microseconds "$SOURCE_SECONDS"
    expected=$microseconds
    [ "$expected" -lt 200000000 ] && room=2000000 || room=$((expected / 100))
    # A little more than is too much: enough to tell.
    seconds $((expected + room + 1000000)) 3
    set -- "$@" -t "$seconds"
fi
limit_memory
limit_output

# What ffmpeg says goes to stderr as ever, and its warnings, where they are all that there is to tell a
# cut source by, also to a file. A frame that cannot be decoded is skipped (old MP3 files end in tags
# that are none); a tenth is too many.
[ -n "$SOURCE_SECONDS" ] || export FFREPORT=file=messages:level=24
ffmpeg -hide_banner -nostdin -y -loglevel warning \
    -max_error_rate 0.1 -max_pixels "$MOST_PIXELS" -protocol_whitelist file -format_whitelist "$FORMATS" -i file:input \
    "$@" -progress progress "file:$OUTPUT"
status=$?
if [ "$status" -ne 0 ]; then
    ! fills_disk || fail "$status" "the output takes more than half of the free disk"
    fail "$status" "ffmpeg failed with status $status"
fi

reported
written=$reported
if [ -n "$SOURCE_SECONDS" ]; then
    # The report stops at the start of the packet written last, which in a slow film is not the one
    # shown last: before anything is called short, the output's header is asked.
    if is_too_short "$written"; then
        declared=$(print_declared)
        written=${declared:-$written}
    fi
fi
seconds "$written" 3
: >"seconds-$seconds"

[ -s "$OUTPUT" ] || fail 65 "ffmpeg wrote nothing into $OUTPUT"
seconds "$written" 2
converted="$seconds s were converted"
if riff_is_short; then
    fail 65 "$converted: the source is cut short: it has $size bytes of $declared"
fi
if [ -z "$SOURCE_SECONDS" ]; then
    ! ended_early || fail 65 "$converted: the source is cut short: it ends in the midst of a packet"
    exit 0
fi
seconds "$expected" 2
converted="$converted of $seconds s"
! is_too_short "$written" || fail 65 "$converted: the source is cut short"
! is_too_long "$written" || fail 65 "$converted: the source is longer than it says"
