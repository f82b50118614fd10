# The guest's end of the clipboard, for /bin/sh. Sent over SSH and never stored. What it says: pommel/clipboard/frames.py.
# Before the frames come three programs on standard input, each up to a line "#END": this one, which the login shell's
# small reader evaluates, then JavaScript for macOS, then Python that waits for changes of an X11 clipboard.
# A clipboard's bytes go through pipes and variables only: not into arguments, files or a shell's evaluation.
take() {
    taken=
    while IFS= read -r line; do
        case $line in "#END") return 0 ;; esac
        taken=$taken$line$newline
    done
    return 1
}
newline=$(printf '\n_')
newline=${newline%_}
user=$(id -un)
console=$(stat -f %Su /dev/console 2>/dev/null) || console=$user
take
javascript=$taken
take
watcher=$taken
if command -v osascript >/dev/null 2>&1; then
    POMMEL_NOTES="user=$user console=$console" exec osascript -l JavaScript -e "$javascript"
fi
if ! command -v pbcopy >/dev/null 2>&1 || ! command -v pbpaste >/dev/null 2>&1; then
    printf 'POMMEL-CLIPBOARD 1 none none user=%s\n' "$user"
    exit 0
fi
# Without it, pbcopy and pbpaste of a macOS mangle what is not ASCII.
LC_ALL='' LC_CTYPE=UTF-8
case $(locale -a 2>/dev/null) in *C.utf8* | *C.UTF-8*) LC_CTYPE=C.UTF-8 ;; esac
export LC_ALL LC_CTYPE
if printf x | base64 -w0 >/dev/null 2>&1; then encoded() { base64 -w0; }; else encoded() { base64 | tr -d '\n'; }; fi

# What the host says, and what becomes of it, as lines for `publish`.
commands() {
    while read -r verb one two three; do
        case $verb in
        write)
            size=${three#+}
            case $two in empty) size=0 ;; esac
            # What a pbcopy that fails leaves must not be taken for the next line.
            if head -c "$size" | { pbcopy >/dev/null 2>&1 || { cat >/dev/null; false; }; }; then echo "done $one"; else echo "failed $one"; fi
            ;;
        ping) echo "pong $one" ;;
        esac
    done
}

# A line "look" whenever the clipboard may have changed, and "end" if nobody watches any more.
watch() {
    if python3 -c pass >/dev/null 2>&1; then
        python3 -c "$watcher" "$every"
    else
        while sleep "$every" && kill -0 $$ 2>/dev/null; do echo look; done
    fi
    echo end
}

# The only one that writes to the host, so that nothing gets into the middle of something else.
publish() {
    last=
    count=0
    unwatched=0
    while read -r verb token; do
        case $verb in
        pong)
            echo "pong $token"
            # Should the watch have been killed before it could say so.
            unwatched=$((unwatched + 1))
            [ "$unwatched" -lt 20 ] || exit 1
            continue
            ;;
        look) unwatched=0 ;;
        end) exit 1 ;;
        "done" | failed) echo "$verb $token" ;;
        esac
        now=$(pbpaste 2>/dev/null | encoded)
        # Nothing may be only the moment between two owners.
        if [ -z "$now" ]; then sleep 0.1 && now=$(pbpaste 2>/dev/null | encoded); fi
        if [ "$now" = "$last" ] && [ "$count" != 0 ]; then continue; fi
        count=$((count + 1))
        last=$now
        size=$((${#now} * 3 / 4))
        if [ "$size" -gt $((limit + 2)) ]; then
            echo "copy $count held large $size"
        elif [ "$size" = 0 ] && [ "$count" = 1 ]; then
            echo "copy 1 empty"
        elif [ "$size" = 0 ]; then
            echo "copy $count held foreign" # pbpaste does not tell a picture from nothing
        else
            printf 'copy %s base64 text +%s\n%s' "$count" "${#now}" "$now"
        fi
    done
}

# Standard output is the frames' alone from here on.
IFS=' ' read -r _ limit every_ms
every=$(awk "BEGIN { print ($every_ms > 250 ? $every_ms : 250) / 1000 }")
printf 'POMMEL-CLIPBOARD 1 posix text user=%s\n' "$user"
exec 3<&0
{
    watch </dev/null 3<&- &
    watching=$!
    echo look
    commands <&3
    kill "$watching" 2>/dev/null
} | publish
