#!/bin/sh
# Converts the file `input` in the working directory with ffmpeg, and checks by what was decoded
# that the output is whole.
#
# Settings, from the environment:
#   FFMPEG_ARGUMENTS   ffmpeg's arguments between input and output, one per line. In the filters of
#                      sync.py, LATE and PAUSE are replaced with seconds: in -filter:a:N for
#                      that line of SOUND, from 0, otherwise for the first.
#   PREFERRED_ARGUMENTS  arguments to try first. Empty: none. FFMPEG_ARGUMENTS follow if ffmpeg fails
#                      with these. If these copy the sound, FFMPEG_ARGUMENTS also follow unless the
#                      copy has the same packets and beginning, and is whole and in time.
#   MOST_BIT_RATE      most bits per second of sound that is copied. Empty: any number.
#   TAGS               a metadata file of ffmpeg, which replaces the tags of the source. Empty: none.
#                      The arguments name it as input 1.
#   OUTPUT             file to write in the working directory, such as output.mp3
#   SOUND              a line "START END WHOLE TRACK" for each track of the output: seconds at which
#                      its sound starts and ends, seconds at which the whole source ends if END is
#                      "-", and its number among the sound tracks of the source, from 0. A number is
#                      "-" if the source does not declare it. Empty: the output has no sound.
#   PICTURE            one such line for the pictures
#   SOURCE_MD5         MD5 of the planned source, in hex. Empty: it is not compared.
#
# Exit status: 65 (EX_DATAERR) if the source is at fault: ffmpeg cannot convert it, or the check
# fails. 64 (EX_USAGE) for a wrong setting, 66 (EX_NOINPUT) without `input`, 74 (EX_IOERR) if the
# node lacks memory or disk space, 75 (EX_TEMPFAIL) if `input` does not have the MD5, 127 without
# ffmpeg. Otherwise that of ffmpeg, if it is killed.
# The name of an empty file, such as `seconds-10.026_missing-4.010_gap-3.008-4.010_lavf-59.27.100`,
# states what was verified. tasks/media/verification.py reads it.
# Requires only sh, awk, df, od, rm and wc. Without md5sum, it does not compare the MD5.
# The shell never parses a value a second time.
set -u

# The start task copies an ffmpeg from storage into this folder.
PATH=${AZ_BATCH_NODE_SHARED_DIR:+$AZ_BATCH_NODE_SHARED_DIR/bin:}$PATH
# Static builds of ffmpeg crash on MPEG-TS if they load the character sets of the system.
export GCONV_PATH=/nonexistent LC_ALL=C

# The same values as in input_limits.py. Playlists are excluded: they open other files.
MOST_PIXELS=134217728
MOST_SECONDS=604800
FORMATS=aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,mxf,ogg,tta,w64,wav,wv
# The same value as in sync.py.
PAUSE_SECONDS=600 # a longer step of the clock is a jump, unless another stream continues

line_end='
'

fail() {
    status=$1
    shift
    printf 'runner: %s\n' "$*" >&2
    exit "$status"
}

# The awk programs below read lists that ffmpeg writes, with a line for each frame or packet: its
# stream, times, length, size and checksum. They print measures, one per line: a name and a value.

# Follows the sound that was decoded as the filters of sync.py do.
# shellcheck disable=SC2016
READ_SOUND='
    /^#software/ { print "version", substr($0, index($0, "Lavf") + 4) }
    /^#tb/ { split($3, part, "/"); unit = part[1] / part[2] }
    /^#/ { next }
    {
        split($0, field, ",")
        at = field[3] * unit + far; lasts = field[4] * unit; decoded += lasts
        if (!frames++) {
            print "first", at
            offset = (at > late + 1 ? 0 : at > late ? at : late) - at
            end = at + offset
            gap = end - claimed; from = claimed
        } else {
            from = end
            gap = at + offset - end
            if (gap < -0.1 || gap > pause) {
                offset -= gap
                if (gap > 0) jumped += gap; else back -= gap
                gap = 0
            }
            if (gap > 0) end += gap
        }
        if (gap > 0) filled += gap
        if (gap >= 0.1 && ++gaps <= 3) words = words sprintf("_gap-%.3f-%.3f", from, gap)
        end += lasts
    }
    END {
        if (gaps > 3) words = words "_gaps-" gaps
        printf "decoded %.3f\n", decoded
        printf "frames %d\nend %.3f\nfilled %.3f\njumped %.3f\nback %.3f\ngaps %s\n", \
            frames, end, filled, jumped, back, words
    }'

# shellcheck disable=SC2016
READ_PICTURES='
    /^#software/ { print "version", substr($0, index($0, "Lavf") + 4) }
    /^#tb/ { split($3, part, "/"); unit = part[1] / part[2] }
    /^#/ { next }
    {
        split($0, field, ","); at = field[3] * unit
        gap = at - before
        if (pictures++ && (gap < -0.1 || gap > pause)) { offset -= gap; if (gap > 0) jumped += gap }
        before = at
        if (at + field[4] * unit + offset > end) end = at + field[4] * unit + offset
    }
    END { printf "pictures %d\npictures_end %.3f\npictures_jumped %.3f\n", pictures, end, jumped }'

# Reads the progress that ffmpeg reported, then its messages: the time that it wrote last, and what
# it could not read. If the source does not declare its length, only a warning shows that it ends
# inside a packet.
# shellcheck disable=SC2016
READ_MESSAGES='
    FNR == 1 { reading++ }
    reading == 1 && /^out_time_us=[0-9]+$/ { written = substr($0, 13) }
    reading == 1 { next }
    /Last message repeated [0-9]+ times/ { if (kind) count[kind] += $4; next }
    { kind = "" }
    /corrupt decoded frame/ { kind = "corrupt" }
    /rror while decoding|submitting packet to decoder/ { kind = "undecoded" }
    /corrupt input packet|File ended prematurely|partial file/ { kind = "incomplete" }
    /Error during demuxing: Not yet implemented/ { print "is_unreadable 1" }
    kind { count[kind]++ }
    END {
        printf "written_microseconds %.0f\ncorrupt %d\nundecoded %d\n", written, count["corrupt"], count["undecoded"]
        if (is_open && count["incomplete"]) print "is_short 1"
    }'

# Reads the packets of the source, then the log with the time of each packet as the source has it.
# The first streams are copies of the sound and the picture that are converted.
# shellcheck disable=SC2016
READ_PACKETS='
    FNR == 1 { reading++ }
    reading == 1 && /^#codec_id 0:/ { codec = $3 }
    reading == 1 && /^#tb/ { split($3, part, "/"); unit[$2 + 0] = part[1] / part[2] }
    reading == 1 && /^#/ { next }
    reading == 1 {
        split($0, field, ",")
        stream = field[1] + 0; size = field[5]; is_zero = field[6] ~ /0x00000000/
        if ((field[3] + field[4]) * unit[stream] > last_end) last_end = (field[3] + field[4]) * unit[stream]
        # A larger packet of MP3 is not a frame, but what lies between two.
        if (is_zero || (codec == "mp3" && stream == 0 && size > 2881)) junk += size
        if (stream >= copies) { bytes += is_zero ? 0 : size; next }
        if (stream == 0) lasting += field[4] * unit[0]
        packets[stream]++; zeros[stream] += is_zero
        at = field[3] * unit[stream]; gap = at - end[stream]
        if (stream == 0 && packets[0] > 1 && gap > 0.05) {
            gaps++; small += before <= 10; large += gap > 0.5
        }
        at += field[4] * unit[stream]
        if (at > end[stream]) end[stream] = at
        before = size
        next
    }
    /^\[(in#|matroska|mov|avi|flv|asf|mpeg|ogg|mxf|caf).*\[error\]/ && !/partial file|prematurely|chapter/ { errors++ }
    # The first output stream is a copy of the track, or without sound of the pictures.
    /^\[info\]   Stream #0:[0-9]+ -> #0:0 \(copy\)$/ { sub(/^.*#0:/, "", $3); chosen = $3 }
    /demuxer -> ist_index:/ && match($0, /pkt_dts_time:-?[0-9.]+/) {
        at = substr($0, RSTART + 13, RLENGTH - 13) + 0
        if (!/type:(audio|video)/) next
        is_audio = /type:audio/
        match($0, /ist_index:[0-9:]+/); stream = substr($0, RSTART, RLENGTH)
        sub(/^.*:/, "", stream)
        if (stream == chosen && !seen++) { start = at; last = at }
        if (stream != chosen) { if (is_audio != has_sound) others[++count] = at; next }
        gap = at - last - step
        is_bridged = 0
        for (n = 1; gap > 0.1 && n <= count; n++)
            if (others[n] > last + gap / 2 && others[n] < at - 0.05) is_bridged = 1
        if (is_bridged) bridged += gap
        if (gap < -0.5 || gap > pause) {
            if (++jumps <= 3) words = words sprintf("_jump-%.3f-%.3f", last + step - start, gap)
            if (gap > 0) { jumped += gap; if (is_bridged) continues = 1 }
            start += gap
        } else if (gap < 1) step = at - last
        last = at; count = 0
    }
    END {
        if (jumps > 3) words = words "_jumps-" jumps
        pictures = copies > has_sound ? has_sound + 0 : -1
        printf "last %.3f\nlasting %.3f\ncodec %s\n", last_end, lasting, codec
        printf "bridged %.3f\n", bridged
        printf "packets %d\nzeros %d\nbytes %.0f\nerrors %d\njumped %.3f\njumps %s\ncontinues %d\n", \
            packets[0], zeros[0], bytes - (codec == "mp3" ? junk : 0), errors, jumped, words, continues
        printf "picture_packets %d\npicture_packets_end %.3f\n", packets[pictures], end[pictures]
        print "is_sparse", (codec ~ /^(opus|amr)/ && gaps && !large && small * 2 >= gaps)
    }'

# Reads the measures of a track, and prints what to do: usual (convert with the usual arguments),
# explain, again LATE PAUSE CLOCK, check, converted SECONDS MISSING WORDS VERSION, or failed REASON.
# What was found in earlier tracks is in `seconds`, `missing_before` and `words_before`. Without sound,
# there is one track for the pictures.
# shellcheck disable=SC2016
JUDGE='
    function tolerance(seconds) { return seconds > 500 ? seconds / 1000 : 0.5 }
    function least(a, b) { return a + 0 < b + 0 ? a + 0 : b + 0 }
    function decide(what) {
        print is_trial && what ~ /^(again|failed)/ ? "usual" : what
        exit
    }
    function fail(reason) { decide("failed " reason) }
    function fail_cut(end, whole) {
        if (m["declared_bytes"])
            fail(sprintf("%.2f s were converted: the source is cut short: it has %d of %d bytes", \
                end, m["size"], m["declared_bytes"]))
        if (whole == "-")
            fail(sprintf("%.2f s were converted: the source is cut short: it ends inside a packet", end))
        fail(sprintf("%.2f s of %.2f s were converted: the source is cut short", end, whole))
    }
    function judge_sound(    whole, tail, is_whole, is_damaged, is_junk, undecoded, share, off) {
        if (!m["frames"]) fail("no sound can be decoded: the source is damaged")
        # The declared start is not that of the sound, so the declared end may not be its end.
        if (m["first"] > m["claimed"] + 1 && m["sound_end"] != "-") {
            rest["sound_end"] = m["sound_end"]; m["sound_end"] = "-"
        }
        end = m["end"]; whole = m["sound_end"] == "-" ? end : m["sound_end"] - m["jumped"]
        tail = whole - end
        if (tail < tolerance(whole)) { tail = 0; whole = end }
        missing = m["filled"] + tail
        if (missing < 0.5) missing = 0
        is_whole = m["sound_end"] != "-" && !missing && end - m["sound_end"] < tolerance(end)
        if (is_whole && !m["jumped"] && m["back"] < 0.5) return
        if (!m["is_explained"]) decide("explain")
        if (m["continues"] && m["pause"] < most) decide("again " m["late"] " " most " " m["clock"])
        # For a film that is joined, ffmpeg may close the step of each stream, one after the other.
        if (has_pictures && missing && m["jumps"] ~ /--/ && m["clock"] == "ffmpeg")
            decide("again " m["late"] " " m["pause"] " source")
        # Signs of damage: packets that gave no frame, packets of zeros, what a demuxer could not
        # parse, and bytes that are in no packet. The last are legal too, so they prove nothing alone.
        undecoded = m["packets"] > m["frames"] + 2
        share = m["bytes"] / m["size"]
        # Before version 7, ffmpeg gives the first frames of lossless WMA the time of its second packet.
        off = rest["sound_end"] - end
        if (m["codec"] == "wmalossless" && !missing && off < tolerance(end) && -off < tolerance(end)) return
        # ffmpeg 7.0 decodes Speex of more than 8 kHz at half speed.
        if (m["codec"] == "speex" && m["lasting"] && m["decoded"] > 1.5 * m["lasting"])
            fail(sprintf("this version of ffmpeg decodes %.2f s of Speex to %.2f s", m["lasting"], m["decoded"]))
        if (m["sound_end"] == "-" && rest["sound_end"] - m["jumped"] - m["last"] > tolerance(rest["sound_end"]))
            fail_cut(m["last"], rest["sound_end"])
        if (m["sound_end"] == "-" && share < 0.8 && (m["undecoded"] || m["errors"]))
            fail(sprintf("the source is damaged: %d %% of its bytes cannot be read", 100 - 100 * share))
        is_junk = m["format"] == "raw" && 1 - share > missing / whole / 2
        if (tail && m["filled"] < 0.5 && !undecoded && !m["zeros"] && !is_junk && !m["errors"])
            fail_cut(end, whole)
        is_damaged = undecoded || is_junk || m["zeros"] > 2 \
            || (m["format"] == "raw" && m["filled"] > 0.5 && !m["is_sparse"])
        # Other streams continue in a clean gap. Damage interrupts all.
        if (m["bridged"] < missing / 2 && (m["errors"] || share < (m["format"] == "ts" ? 0.75 : 0.8)))
            is_damaged = 1
        if (is_damaged && missing > 0.1 * whole)
            fail(sprintf("the source is damaged: %.2f s of %.2f s are missing", missing, whole))
        if (tail && !is_damaged) fail_cut(end, whole)
        if (m["first"] > m["late"] + 1) decide("again " m["first"] " " m["pause"] " " m["clock"])
        if (missing && is_damaged) words = words sprintf("_damaged-%.3f", missing)
        else if (!m["is_sparse"]) words = words m["gaps"]
    }
    function judge_pictures(    whole, tail, lost, bad, all) {
        if (!m["pictures"]) fail("no picture can be decoded: the source is damaged")
        whole = m["picture_end"]
        tail = whole == "-" ? 0 : whole - m["jumped"] - m["pictures_end"]
        if (tail < tolerance(whole) && !m["corrupt"] && !m["undecoded"] && !m["pictures_jumped"]) return
        if (!m["is_explained"]) decide("explain")
        # The sound continues: the picture was shown for long.
        if (has_sound && m["pictures_jumped"] && !m["jumped"] && m["pause"] < most)
            decide("again " m["late"] " " most " " m["clock"])
        if (m["pictures_jumped"] && m["clock"] == "ffmpeg") decide("again " m["late"] " " m["pause"] " source")
        all = m["picture_packets"]
        lost = m["corrupt"] || m["undecoded"] ? all - m["pictures"] : 0
        if (lost <= 2) lost = 0
        bad = lost + m["corrupt"]
        if (bad > all) bad = all
        if (bad > 0.1 * all)
            fail(sprintf("the source is damaged: %d of %d pictures cannot be decoded", bad, all))
        if (whole != "-" && !lost && whole - m["jumped"] - m["picture_packets_end"] > tolerance(whole))
            fail_cut(m["pictures_end"], whole - m["jumped"])
        if (bad && track == 1) words = words sprintf("_pictures-%d-%d", bad, all)
    }
    { m[$1] = $2; rest[$1] = $3 }
    END {
        if (!m["is_measured"]) exit
        is_trial = m["is_trial"] && m["is_copied"] && !has_pictures
        written = m["written_microseconds"] / 1000000
        if (m["is_checked"]) {
            written = least(m["written_pictures"], m["pictures_end"])
            if (m["written_sound"] > written) written = m["written_sound"]
        }
        # An Ogg file whose second part has other channels or another rate.
        if (m["is_unreadable"])
            fail(sprintf("ffmpeg on this node cannot read the source beyond %.2f s: its format changes there", written))
        if (has_sound) judge_sound()
        if (has_pictures) judge_pictures()
        if (m["is_short"]) fail_cut(written, "-")
        # Sound that is copied has no filters, and need not be in time.
        wanted = m["is_copied"] ? m["decoded"] : end
        gap = wanted - written
        if (!m["is_checked"] && (has_pictures || is_trial || gap > 0.1 || gap < -0.1)) decide("check")
        if (is_trial && (!m["is_equal"] || missing || m["jumped"] || m["filled"] > 0.05 || m["back"] > 0.05)) decide("usual")
        if (is_trial && most_bit_rate && m["written_bits"] > 1.02 * most_bit_rate * written) decide("usual")
        if (m["is_checked"] && has_sound && wanted - m["written_sound"] > tolerance(wanted))
            fail(sprintf("%.2f s were decoded, but the output has %.2f s", wanted, m["written_sound"]))
        if (has_pictures && m["pictures_end"] - m["written_pictures"] > tolerance(end))
            fail(sprintf("%.2f s of pictures were decoded, but the output has %.2f s", m["pictures_end"], m["written_pictures"]))
        words = words m["jumps"]
        if (words && tracks > 1) words = "_track-" track words
        if (words && length(words_before words) > 180) words = words_before ~ /_others/ ? "" : "_others"
        printf "converted %.3f %.3f %s %s\n", (written > seconds ? written : seconds), \
            missing_before + missing, words_before words "_", m["version"]
    }'

# Reads the packets of the output.
# shellcheck disable=SC2016
READ_OUTPUT='
    /^#tb/ { split($3, part, "/"); unit[$2 + 0] = part[1] / part[2] }
    /^#media_type/ { kind[$2 + 0] = $3 }
    /^#/ { next }
    {
        split($0, field, ","); stream = field[1] + 0; type = kind[stream]
        at = field[3] * unit[stream]; lasts = field[4] * unit[stream]
        if (type == "audio") bits += 8 * field[5]
        step = at > before[type] ? at - before[type] : before[type] - at
        if (packets[type]++ && step > 0 && (!least[type] || step < least[type])) least[type] = step
        before[type] = at
        if (at > last[type]) last[type] = at
        if (at + lasts > end[type]) end[type] = at + lasts
    }
    END {
        sound = end["audio"]; pictures = end["video"]
        # The length of the last picture is a guess of the format.
        if (packets["video"] > 1) pictures = last["video"] + least["video"]
        printf "written_sound %.3f\nwritten_bits %.0f\nwritten_pictures %.3f\n", sound, bits, pictures
    }'

# Compares a copy with its source: all packets, then the first seconds of what they decode to, which
# begin elsewhere if the header of the copy says so. Only times may differ. Side data that is not 10
# bytes of skipped samples is a new header inside the source, which a copy would lack.
# shellcheck disable=SC2016
READ_COPY='
    FNR == 1 { reading++ }
    /^#/ { next }
    { split($0, field, ","); content = field[5] field[6] }
    reading == 1 && /S= *[1-9]/ && !/, *10(, 0x[0-9a-f]*)?$/ { changes++ }
    reading == 1 { packet[++packets] = content; next }
    reading == 2 { differs += packet[++written] != content; next }
    reading == 3 { frame[++frames] = content; next }
    { differs += is_different; is_different = frame[++copied] != content } # the last is cut
    END { print "is_equal", (copied > 1 && packets == written && !differs && !changes) }'

# A small file may decode into a huge one. A conversion may use three quarters of the memory and half
# of the free disk space. A limit that the shell or the system does not support is not set. If more
# files than vCPUs are converted at once, all of them together may use as much memory as one per vCPU.
# Short of memory, ffmpeg may hang instead of failing, so each may use 1 GiB, if the node has it.
limit_memory() {
    case ${FILES_PER_VCPU-} in
        '' | 0* | *[!0-9]*) FILES_PER_VCPU=1 ;;
    esac
    while read -r name kib _; do
        [ "$name" = MemTotal: ] || continue
        most=$((kib / 4 * 3)) least=1048576
        share=$((most / FILES_PER_VCPU))
        [ "$share" -ge "$least" ] || share=$((most < least ? most : least))
        ulimit -v "$share"
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

# Whether a status of ffmpeg means that it was killed, or lacked memory, disk space or a device.
# Versions before 6 exit with 1 in the latter cases: only their messages tell.
is_fault_of_node() {
    case $1 in
        12[67] | 13[0-9] | 14[0-3] | 15[23] | 228 | 244 | 251) return 0 ;;
    esac
    says 'No space left on device|Cannot allocate memory|Input/output error|File too large'
}

says() {
    [ -s messages ] && awk -v text="$1" '$0 ~ text { found = 1 } END { exit !found }' messages
}

# Looks at the first bytes of the source. WAV and AVI declare their size there, and FFmpeg ignores
# it. Recorders that cannot seek back write 0, or about 2 or 4 GiB. Others miscount slightly.
read_head() {
    # shellcheck disable=SC2046
    set -- $(od -A n -t x1 -N 8 input)
    size=$(($(wc -c <input)))
    echo "size $size"
    case $1$2$3$4 in
        52494646)
            echo 'format raw'
            declared=$((0x$8$7$6$5 + 8))
            [ "$declared" -ge 2147479552 ] || [ $((declared - size)) -le $((4096 + declared / 1000)) ] ||
                printf 'is_short 1\ndeclared_bytes %s\n' "$declared"
            ;;
        664c6143 | 4f676753 | 494433?? | fff*) echo 'format raw' ;; # FLAC, Ogg, MP3: they have no gaps
        47*) echo 'format ts' ;;
    esac
}

run_ffmpeg() {
    ffmpeg -hide_banner -nostdin -y -protocol_whitelist file -format_whitelist "$FORMATS" \
        -max_pixels "$MOST_PIXELS" -max_error_rate 1 -dts_delta_threshold "$PAUSE_SECONDS" "$@"
}

# Converts, and lists each frame that is decoded. If ffmpeg fails with the preferred arguments, it
# converts with the usual ones. Either ffmpeg closes steps of the clock, for all streams together, or
# (with the clock of the source) the filters do, for each stream. The times of the sound are listed
# far before zero: `progress` has the largest time of all outputs, which must be that of the
# conversion.
convert() {
    lates=$1 pause=$2 clock=$3
    run_conversion
    if [ -n "$is_trial" ] && [ "$status" -ne 0 ] && ! is_fault_of_node "$status"; then
        is_trial='' is_fallback=1 arguments=$FFMPEG_ARGUMENTS
        run_conversion
    fi
    [ "$status" -eq 0 ] || fail_conversion "$status"
    [ -s "$OUTPUT" ] || fail 65 "ffmpeg wrote nothing to $OUTPUT"
    ! says 'No space left on device' || fail 74 "the disk of this node is full"
    for n in $numbers; do
        select_track "$n"
        measure_conversion >"measures.$n" || fail_measuring
    done
    n=1 seconds=0 missing=0 words=''
}

run_conversion() {
    is_copied=1 option='' closing='' is_filtered=''
    [ "$clock" = ffmpeg ] || [ -z "$PICTURE" ] || write_closing
    set -f
    IFS=$line_end
    # shellcheck disable=SC2086
    set -- $arguments
    unset IFS
    set +f
    for argument in "$@"; do
        shift
        case $argument in
            -fps_mode) argument=$rate_option ;;
            vfr) argument=$rate ;;
            *LATE*PAUSE*)
                number=1
                case $option in -filter:a:*) number=$((${option##*:} + 1)) ;; esac
                select_track "$number"
                argument=${argument%%LATE*}$late${argument#*LATE} is_copied=''
                ;;
        esac
        case $argument in
            *PAUSE*) argument=${argument%%PAUSE*}$pause${argument#*PAUSE} ;;
        esac
        [ "$option${TAGS:+=1}" != -map_metadata=1 ] || argument=1
        [ "$option" != -vf ] || argument=${closing:+$closing,}$argument is_filtered=1
        option=$argument
        set -- "$@" "$argument"
    done
    [ -z "$closing" ] || [ -n "$is_filtered" ] || set -- "$@" -vf "$closing"
    set -- "$@" -t "$MOST_SECONDS" "file:$OUTPUT"
    for n in ${SOUND:+$numbers}; do
        select_track "$n"
        set -- "$@" -map "0:a:${claim##* }" -c:a pcm_s16le -af "asetpts=PTS-$MOST_SECONDS/TB" -f framecrc "file:sound.$n"
        ! is_copy || set -- "$@" -map "0:a:${claim##* }" -c:a copy -f framecrc "file:source.$n"
    done
    [ -z "$PICTURE" ] || set -- "$@" -map 0:V:0 -c:v wrapped_avframe -f framecrc file:pictures
    [ -z "$TAGS" ] || set -- -f ffmetadata -i file:tags "$@"
    set -- -loglevel warning -i file:input -progress progress "$@"
    [ "$clock" = ffmpeg ] || set -- -copyts -start_at_zero "$@"
    # With FFREPORT, ffmpeg would format its debug messages too: 3 % of the time of a conversion.
    : >messages || fail_measuring
    run_ffmpeg "$@" 2>messages
    status=$?
    [ ! -s messages ] || awk 1 messages >&2
}

# Sets `claim` to the line of SOUND about a track, and `late` to where its sound starts.
select_track() {
    n=$1 claim=$SOUND late=$lates
    for earlier in $numbers; do
        [ "$earlier" -lt "$n" ] || break
        claim=${claim#*"$line_end"} late=${late#* }
    done
    claim=${claim%%"$line_end"*} late=${late%% *}
}

# A measure that is missing would look like a source without sound.
fail_measuring() {
    fail 74 "this node could not write what it measured"
}

# The filter that closes jumps in the times of pictures. ffmpeg loses their rate by it, so it is used
# only if there are jumps. ld(1) is the last step that was not a jump.
write_closing() {
    closing="setpts='if(gt(N,0),st(2,PTS-PREV_INPTS)\
;if(lt(ld(2)*TB,-0.1)+gt(ld(2)*TB,$pause),st(0,ld(0)-ld(2)+ld(1)),st(1,ld(2))));PTS+ld(0)'"
}

fail_conversion() {
    ! says 'Unknown encoder|No such filter|Unrecognized option' ||
        fail 64 "ffmpeg on this node does not have what the preset needs"
    ! fills_disk || fail "$1" "the output takes more than half of the free disk space"
    ! is_fault_of_node "$1" || fail "$1" "ffmpeg failed with status $1"
    fail 65 "ffmpeg failed with status $1"
}

# Whether a line of SOUND or PICTURE has no END.
is_without_end() {
    end=${1#* }
    [ "${end%% *}" = - ]
}

measure_conversion() {
    printf 'late %s\npause %s\nclock %s\nis_copied %s\nis_trial %s\n' "$late" "$pause" "$clock" "$is_copied" "$is_trial"
    read_head || return 1
    is_open=
    ! is_without_end "$claim" && ! is_without_end "$PICTURE" || is_open=1
    awk -v is_open="$is_open" "$READ_MESSAGES" progress messages || return 1
    if [ -n "$SOUND" ]; then
        printf 'claimed %s\nsound_end %s\n' "${claim%% *}" "${claim#* }"
        awk -v far="$MOST_SECONDS" -v late="$late" -v claimed="${claim%% *}" -v pause="$pause" "$READ_SOUND" "sound.$n" || return 1
    fi
    if [ -n "$PICTURE" ]; then
        printf 'picture_end %s\n' "${PICTURE#* }"
        awk -v pause="$pause" "$READ_PICTURES" pictures || return 1
    fi
    echo 'is_measured 1'
}

# Lists the packets of the source, and the times that they have in it: ffmpeg closes some jumps.
explain() {
    select_track "$n"
    set --
    [ -z "$SOUND" ] || set -- "$@" -map "0:a:${claim##* }"
    [ -z "$PICTURE" ] || set -- "$@" -map 0:V:0
    run_ffmpeg -loglevel level+info -debug_ts -i file:input "$@" -map 0 -ignore_unknown -c copy -f framecrc file:packets 2>times
    {
        echo 'is_explained 1'
        [ -s packets ] || echo 'errors 1'
        awk -v has_sound="$((${#SOUND} > 0))" -v copies=$(($# / 2)) -v pause="$PAUSE_SECONDS" "$READ_PACKETS" packets times
    } >>"measures.$n" || fail_measuring
}

# Whether the sound of the output is a copy that the preferred arguments made.
is_copy() {
    [ "$is_trial$is_copied" = 11 ] && [ -z "$PICTURE" ]
}

# Reads what the output contains. The beginning of sound that was copied is decoded.
check() {
    set -- -map "0:a:$((n - 1))?" -map '0:V:0?' -c copy -f framecrc file:written
    ! is_copy || set -- "$@" -map "0:a:$((n - 1))?" -t 2 -c:a pcm_s16le -f framecrc file:copied
    run_ffmpeg -loglevel error -i "file:$OUTPUT" "$@"
    {
        echo 'is_checked 1'
        ! is_copy || awk "$READ_COPY" "source.$n" written "sound.$n" copied
        awk "$READ_OUTPUT" written
    } >>"measures.$n" || fail_measuring
}

judge() {
    awk -v most="$MOST_SECONDS" -v most_bit_rate="${MOST_BIT_RATE-}" -v has_sound="${SOUND:+1}" \
        -v has_pictures="${PICTURE:+1}" -v track="$n" -v tracks="$tracks" \
        -v seconds="$seconds" -v missing_before="$missing" -v words_before="$words" "$JUDGE" "measures.$n"
}

# Whether `input` is another version than the planned one. A blob can be replaced after the plan.
is_replaced() {
    [ -n "${SOURCE_MD5-}" ] && command -v md5sum >/dev/null || return 1
    digest=$(md5sum <input) || return 1
    [ "${digest%% *}" != "$SOURCE_MD5" ]
}

[ -n "${OUTPUT-}" ] || fail 64 "this batch task does not name the file to write"
# Without the preset's arguments ffmpeg would convert to something else, without an error.
[ -n "${FFMPEG_ARGUMENTS-}" ] || fail 64 "this batch task does not have the arguments of its preset"
SOUND=${SOUND-} PICTURE=${PICTURE-} TAGS=${TAGS-}
[ -n "$SOUND$PICTURE" ] || fail 64 "this batch task does not say where the source starts and ends"
starts='' numbers='' tracks=0
IFS=$line_end
for claim in $SOUND $PICTURE; do
    case " $claim " in
        *[!0-9.\ -]* | *[!\ ]-* | *-[!\ ]*) ;;
        ' '[0-9]*' '[0-9-]*' '[0-9-]*' '[0-9]*' ') continue ;;
    esac
    fail 64 "'$claim' does not have four numbers: a start, an end, a whole length and a track"
done
for claim in ${SOUND:-0}; do
    tracks=$((tracks + 1))
    numbers="$numbers $tracks" starts="$starts${claim%% *} "
done
unset IFS
command -v ffmpeg >/dev/null || fail 127 "ffmpeg is not on this node's PATH ($PATH)"
[ -f input ] || fail 66 "no file named input in $PWD"
! is_replaced || fail 75 "the source was replaced after the run planned it. Run again"
for left in tags progress messages measures.* sound.* source.* pictures packets times written copied seconds-* "./$OUTPUT"; do
    if [ -e "$left" ] || [ -h "$left" ]; then rm -f "$left"; fi
done
[ -z "$TAGS" ] || printf '%s' "$TAGS" >tags || fail 74 "this node could not write the tags"
limit_memory
limit_output

arguments=${PREFERRED_ARGUMENTS:-$FFMPEG_ARGUMENTS} is_trial=${PREFERRED_ARGUMENTS:+1} is_fallback=''
# Before 5.1, ffmpeg lacks -fps_mode. With -vsync vfr, 4.2 hides the last picture, so it gets a rate.
rate_option=-fps_mode rate=vfr
case $arguments in
    *-fps_mode*) ffmpeg -fps_mode vfr -version >/dev/null 2>&1 || rate_option=-r rate=60 ;;
esac
convert "$starts" "$PAUSE_SECONDS" ffmpeg
while [ "$n" -le "$tracks" ]; do
    # shellcheck disable=SC2046
    set -- $(judge)
    case ${1-} in
        explain) explain ;;
        check) check ;;
        usual)
            is_trial='' arguments=$FFMPEG_ARGUMENTS
            convert "$starts" "$PAUSE_SECONDS" ffmpeg
            ;;
        again) convert "$(echo "$lates" | awk -v n="$n" -v late="$2" '{ $n = late; print $0, "" }')" "$3" "$4" ;;
        converted)
            seconds=$2 missing=$3 words=${4%_} version=$5
            n=$((n + 1))
            ;;
        failed)
            awk '$1 == "version" { version = $2 } END { print "runner-version: lavf " version }' "measures.$n" >&2
            shift
            fail 65 "$*"
            ;;
        *) fail_measuring ;;
    esac
done
! is_copy || words=_copied$words
[ -z "$PICTURE" ] || [ -z "$is_fallback" ] || words=_plain$words
[ "$missing" = 0.000 ] || words=_missing-$missing$words
: >"seconds-$seconds${words}_lavf-$version"
