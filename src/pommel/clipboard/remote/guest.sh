# The guest's end of the clipboard, for /bin/sh. Sent over SSH and never stored. What it says: pommel/clipboard/frames.py.
# Before the frames come three programs on standard input, each up to a line "#END": this one, which the login shell's
# small reader evaluates, then JavaScript for macOS, then Python that hears of an X11 clipboard's changes and owns what is large.
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
python=$taken
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

# Files, pictures and the names of what else there is: for whoever has xclip. pbcopy and pbpaste look at the same display.
# Pictures only where the clipboard is watched: to look whether one is another by now takes all of it each time.
more='' pictures=''
piece=1000000 # an xclip's is a quarter of the X server's longest request: 1,048,575 bytes in all with BIG-REQUESTS
if command -v xclip >/dev/null 2>&1; then
    more=,uris
    ! command -v python3 >/dev/null 2>&1 || more=,png,uris pictures=1
    export DISPLAY="${DISPLAY:-:0}"
    [ -n "${XAUTHORITY-}" ] || [ ! -f "$HOME/.Xauthority" ] || export XAUTHORITY="$HOME/.Xauthority"
fi
# What the clipboard has of this kind, in base64, and not much more of it than may travel.
fetched() { timeout 10 xclip -selection clipboard -o -t "$1" 2>/dev/null | head -c $((limit + 3)) | encoded; }
# The kinds that it has, a line each; none where nobody has copied, or who has refuses to say; "late:" where they hang.
offered() {
    [ -z "$more" ] || {
        timeout 10 xclip -selection clipboard -o -t TARGETS 2>/dev/null || [ $? != 124 ] || echo late:
    } | head -c 4000 | LC_ALL=C tr -cd '\n -~'
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
            if head -c "$size" | { copy "$two" "$size" >/dev/null 2>&1 || { cat >/dev/null; false; }; }; then echo "done $one"; else echo "failed $one"; fi
            ;;
        ping) echo "pong $one" ;;
        esac
    done
}

# Put standard input there: of this form, and so many bytes. Small text is for pbcopy, which may know better where it goes.
# All else is owned by our own program: what is too large for one piece of an xclip's it hands to one asker alone, be that
# whoever pastes or ourselves, and it ends before it owns the clipboard.
copy() {
    case $1 in
    uris:*) kind=text/uri-list ;;
    png:*) kind=image/png ;;
    *) kind=UTF8_STRING ;;
    esac
    if [ -n "$pictures" ] && { [ "$kind" != UTF8_STRING ] || [ "$2" -gt "$piece" ]; }; then
        python3 -I -c "$python" own "$kind"
        case $? in
        0) return 0 ;;
        3 | 126 | 127) ;; # it has read nothing of it
        *) return 1 ;;
        esac
    fi
    case $kind in
    UTF8_STRING) pbcopy ;;
    *) setsid --wait xclip -selection clipboard -i -t "$kind" ;;
    esac
}

# The pid of this very shell, where that can be had: $$ is the first one's, in all that it forks. Else 0.
this_process() { { IFS=' ' read -r this _ </proc/self/stat; } 2>/dev/null || this=0; }

# A line "look" whenever the clipboard has changed, "again" now and then, and "end" if nobody watches any more.
watch() {
    python3 -I -c pass >/dev/null 2>&1
    case $? in
    0)
        # Its parent may be killed before it can ask who that is.
        this_process
        python3 -I -c "$python" watch "$every" "$this"
        ;;
    # Not there, or a stand-in that only says how to install it. One that was killed tells nothing: begin anew.
    [0-9] | [0-9][0-9] | 12[0-7]) while sleep "$every" && kill -0 $$ 2>/dev/null; do echo again; done ;;
    esac
    echo end
}

# Which of the kinds to read, the best first, and the form that it is. A picture only where there is no text: office
# programs paint one of every selection. "string" is UTF-8 or Latin-1: xclip falls back to that by itself, and old ones
# put UTF-8 there.
choose() {
    for pair in uris=text/uri-list text=UTF8_STRING 'text=text/plain;charset=utf-8' 'text=text/plain;charset=UTF-8' \
        compound=COMPOUND_TEXT string=STRING string=text/plain png=image/png tiff=image/tiff webp=image/webp \
        avif=image/avif bmp=image/bmp bmp=image/x-bmp bmp=image/x-MS-bmp jpeg=image/jpeg jpeg=image/jpg gif=image/gif; do
        form=${pair%%=*}
        kind=${pair#*=}
        case $newline$kinds$newline in *"$newline$kind$newline"*) ;; *) continue ;; esac
        case $form in uris | text | compound | string) return ;; esac
        [ -z "$pictures" ] || return 0
    done
    form=foreign
    kind=
}

# What there is now, and of what form. The kinds are asked for once more: somebody may have copied in between, and an
# xclip hands over what it has under any name.
read_now() {
    kinds=$(offered)
    for _ in 1 2 3; do
        read_offered
        [ -n "$more" ] || return 0
        were=$kinds
        kinds=$(offered)
        [ "$kinds" != "$were" ] || return 0
    done
}

read_offered() {
    form=text
    kind=UTF8_STRING
    case $kinds in
    '') ;;
    late:) form=late now= && return ;;
    *) choose ;;
    esac
    case $form:$kind in
    foreign:) now=$kinds ;;
    text:UTF8_STRING) now=$(pbpaste 2>/dev/null | encoded) ;;
    *) now=$(fetched "$kind") ;;
    esac
    if [ -n "$now" ]; then
        # pbpaste has got what it can from who does not say its kinds.
        [ -z "$more" ] || [ -n "$kinds" ] || form=string
    elif [ -n "$more" ] && [ -z "$kinds" ]; then
        now=$(fetched COMPOUND_TEXT)
        [ -z "$now" ] || form=compound
    elif [ "$form" != text ]; then
        form=unreadable
    fi
}

# Whether that is what was told last.
same() { [ "$now" = "$last" ] && [ "$form" = "$last_form" ]; }

# The only one that writes to the host, so that nothing gets into the middle of something else.
publish() {
    last=
    count=0
    unwatched=0
    last_form=
    before=
    hearer=0
    form='' kinds='' heavy=''
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
        look | again)
            unwatched=0
            # Should who hears the host have been killed: nothing would come any more, not even the end.
            [ "$hearer" = 0 ] || kill -0 "$hearer" 2>/dev/null || exit 1
            # A picture whose owner has not changed is not read again, nor what is large: an xclip that hands it over
            # refuses others.
            case $verb:$form$heavy in
            *:late | *:unreadable | again:png* | again:tiff* | again:webp* | again:avif* | again:bmp* | again:jpeg* | again:gif* | again:*+large)
                [ "$verb" = look ] || [ "$(offered)" != "$kinds" ] || continue
                ;;
            esac
            ;;
        end) exit 1 ;;
        "done" | failed)
            echo "$verb $token"
            ;;
        begin)
            before=$count
            continue
            ;;
        esac
        read_now
        # Nothing may be only the moment between two owners, and so may files in the guise of text ("file:/").
        case $form:$now in late:) ;; *:) sleep 0.1 && read_now ;; uris:*) ;; *:ZmlsZTov*) read_now ;; esac
        case $verb in
        "done" | failed)
            # The host takes all that it hears before this line for older than its write. Some of it may have been read
            # after the write, or be on its way since before this shell heard of the write. So what there is now is told
            # in any case. pbcopy may end a moment before the clipboard has changed: then wait for that moment.
            for _ in 1 2 3; do
                if [ "$verb" = failed ] || [ "$count" != "$before" ] || ! same; then break; fi
                sleep 0.03
                read_now
            done
            ;;
        *) if same && [ "$count" != 0 ]; then continue; fi ;;
        esac
        count=$((count + 1))
        last=$now last_form=$form
        size=$((${#now} * 3 / 4))
        heavy=
        [ "$size" -le "$piece" ] || [ -z "$pictures" ] || [ -z "$kinds" ] || heavy=+large
        if [ "$form" = foreign ]; then
            printf 'copy %s foreign +%s\n%s' "$count" "${#now}" "$now"
        elif [ "$form" = unreadable ] || [ "$form" = late ]; then
            echo "copy $count held $form"
        elif [ "$size" -gt $((limit + 2)) ]; then
            echo "copy $count held large $size"
        elif [ "$size" = 0 ] && [ "$count" = 1 ]; then
            echo "copy 1 empty"
        elif [ "$size" = 0 ]; then
            echo "copy $count held foreign" # pbpaste alone does not tell a picture from nothing
        else
            printf 'copy %s base64 %s +%s\n%s' "$count" "$form" "${#now}" "$now"
        fi
    done
}

# Standard output is the frames' alone from here on.
IFS=' ' read -r _ limit every_ms
every=$(awk "BEGIN { print ($every_ms > 250 ? $every_ms : 250) / 1000 }")
printf 'POMMEL-CLIPBOARD 1 posix text%s %s\n' "$more" "$notes"
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
