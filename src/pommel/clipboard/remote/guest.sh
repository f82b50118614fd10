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
# Where the user keeps what may be thrown away, and whether a sync has kept files there. In hex: it may be any bytes.
case $(uname 2>/dev/null) in Darwin) caches=$HOME/Library/Caches ;; *) caches=${XDG_CACHE_HOME:-$HOME/.cache} ;; esac
notes="user=$user console=$console caches=$(printf %s "$caches" | od -An -v -tx1 | tr -d ' \n')"
[ ! -d "$caches/pommel-clipboard" ] || notes="$notes kept=1"
take
javascript=$taken
take
watcher=$taken
if command -v osascript >/dev/null 2>&1; then
    POMMEL_NOTES=$notes exec osascript -l JavaScript -e "$javascript"
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

# Files: for whoever has xclip, which says and takes lists of them. pbcopy and pbpaste look at the same display.
files=
if command -v xclip >/dev/null 2>&1; then
    files=,uris
    export DISPLAY="${DISPLAY:-:0}"
    [ -n "${XAUTHORITY-}" ] || [ ! -f "$HOME/.Xauthority" ] || export XAUTHORITY="$HOME/.Xauthority"
fi
has_files() {
    [ -n "$files" ] && case $(timeout 10 xclip -selection clipboard -o -t TARGETS 2>/dev/null) in *text/uri-list*) true ;; *) false ;; esac
}

# What the host says, and what becomes of it, as lines for `publish`.
commands() {
    while read -r verb one two three; do
        case $verb in
        write)
            size=${three#+}
            case $two in empty) size=0 ;; esac
            echo begin
            # What a pbcopy that fails leaves must not be taken for the next line.
            if head -c "$size" | { copy "$two" >/dev/null 2>&1 || { cat >/dev/null; false; }; }; then echo "done $one"; else echo "failed $one"; fi
            ;;
        ping) echo "pong $one" ;;
        esac
    done
}

copy() {
    case $1 in
    uris:*) setsid --wait xclip -selection clipboard -i -t text/uri-list ;;
    *) pbcopy ;;
    esac
}

# The pid of this very shell, where that can be had: $$ is the first one's, in all that it forks. Else 0.
this_process() { { IFS=' ' read -r this _ </proc/self/stat; } 2>/dev/null || this=0; }

# A line "look" whenever the clipboard may have changed, and "end" if nobody watches any more.
watch() {
    python3 -c pass >/dev/null 2>&1
    case $? in
    0)
        # Its parent may be killed before it can ask who that is.
        this_process
        python3 -c "$watcher" "$every" "$this"
        ;;
    # Not there, or a stand-in that only says how to install it. One that was killed tells nothing: begin anew.
    [0-9] | [0-9][0-9] | 12[0-7]) while sleep "$every" && kill -0 $$ 2>/dev/null; do echo look; done ;;
    esac
    echo end
}

# What there is now, and of what form.
read_now() {
    form=text
    if has_files; then
        form=uris
        now=$(timeout 10 xclip -selection clipboard -o -t text/uri-list 2>/dev/null | encoded)
    else
        now=$(pbpaste 2>/dev/null | encoded)
    fi
}

# The only one that writes to the host, so that nothing gets into the middle of something else.
publish() {
    last=
    count=0
    unwatched=0
    last_form=
    told=0
    hearer=0
    while read -r verb token; do
        case $verb in
        hearer)
            hearer=$token
            continue
            ;;
        pong)
            echo "pong $token"
            # Should the watch have been killed before it could say so.
            unwatched=$((unwatched + 1))
            [ "$unwatched" -lt 20 ] || exit 1
            continue
            ;;
        look)
            unwatched=0
            # Should who hears the host have been killed: nothing would come any more, not even the end.
            [ "$hearer" = 0 ] || kill -0 "$hearer" 2>/dev/null || exit 1
            ;;
        end) exit 1 ;;
        "done" | failed)
            echo "$verb $token"
            # What was told since the write began may have been copied after it: the host took it for older. Once more.
            [ "$told" = 0 ] || last='' last_form=''
            ;;
        begin)
            told=0
            continue
            ;;
        esac
        read_now
        # Nothing may be only the moment between two owners, and so may files in the guise of text ("file:/").
        case $now in '') sleep 0.1 && read_now ;; ZmlsZTov*) [ "$form" = uris ] || read_now ;; esac
        if [ "$now" = "$last" ] && [ "$form" = "$last_form" ] && [ "$count" != 0 ]; then continue; fi
        count=$((count + 1))
        last=$now last_form=$form told=1
        size=$((${#now} * 3 / 4))
        if [ "$size" -gt $((limit + 2)) ]; then
            echo "copy $count held large $size"
        elif [ "$size" = 0 ] && [ "$count" = 1 ]; then
            echo "copy 1 empty"
        elif [ "$size" = 0 ]; then
            echo "copy $count held foreign" # pbpaste does not tell a picture from nothing
        else
            printf 'copy %s base64 %s +%s\n%s' "$count" "$form" "${#now}" "$now"
        fi
    done
}

# Standard output is the frames' alone from here on.
IFS=' ' read -r _ limit every_ms
every=$(awk "BEGIN { print ($every_ms > 250 ? $every_ms : 250) / 1000 }")
printf 'POMMEL-CLIPBOARD 1 posix text%s %s\n' "$files" "$notes"
exec 3<&0
{
    watch </dev/null 3<&- &
    watching=$!
    this_process
    echo "hearer $this"
    echo look
    commands <&3
    kill "$watching" 2>/dev/null
} | publish
