"""The keys of a keyboard, one row each, with their names in six systems. Band: core, no I/O.

Only data; `keymap` searches it. Sources: key codes by UI Events KeyboardEvent code values; virtual keys
(`vk`, `x` = extended) as Windows numbers them; QEMU's QKeyCode names and its key numbers (PC set 1 scancodes, those
with an 0xe0 prefix plus 0x80) as in QEMU's keycodemapdb; `evdev` is Linux' key code (input-event-codes.h), and 8 less
than the keycode of an X server on Linux; X11 keysyms by keysymdef.h, unshifted; macOS virtual key codes by
HIToolbox's Events.h. `-` means that there is none. The last column has further names that people type.
"""

from __future__ import annotations

KEYS = """
code                vk x qcode            qnum evdev keysym   mac  names
Escape              1B . esc              01   1     ff1b     35   escape
F1                  70 . f1               3b   59    ffbe     7A
F2                  71 . f2               3c   60    ffbf     78
F3                  72 . f3               3d   61    ffc0     63
F4                  73 . f4               3e   62    ffc1     76
F5                  74 . f5               3f   63    ffc2     60
F6                  75 . f6               40   64    ffc3     61
F7                  76 . f7               41   65    ffc4     62
F8                  77 . f8               42   66    ffc5     64
F9                  78 . f9               43   67    ffc6     65
F10                 79 . f10              44   68    ffc7     6D
F11                 7A . f11              57   87    ffc8     67
F12                 7B . f12              58   88    ffc9     6F
F13                 7C . f13              5d   183   ffca     69
F14                 7D . f14              5e   184   ffcb     6B
F15                 7E . f15              5f   185   ffcc     71
F16                 7F . f16              55   186   ffcd     6A
F17                 80 . f17              83   187   ffce     40
F18                 81 . f18              f7   188   ffcf     4F
F19                 82 . f19              84   189   ffd0     50
F20                 83 . f20              5a   190   ffd1     5A
F21                 84 . f21              74   191   ffd2     -
F22                 85 . f22              f9   192   ffd3     -
F23                 86 . f23              6d   193   ffd4     -
F24                 87 . f24              6f   194   ffd5     -
Digit1              31 . 1                02   2     31       12
Digit2              32 . 2                03   3     32       13
Digit3              33 . 3                04   4     33       14
Digit4              34 . 4                05   5     34       15
Digit5              35 . 5                06   6     35       17
Digit6              36 . 6                07   7     36       16
Digit7              37 . 7                08   8     37       1A
Digit8              38 . 8                09   9     38       1C
Digit9              39 . 9                0a   10    39       19
Digit0              30 . 0                0b   11    30       1D
KeyA                41 . a                1e   30    61       00
KeyB                42 . b                30   48    62       0B
KeyC                43 . c                2e   46    63       08
KeyD                44 . d                20   32    64       02
KeyE                45 . e                12   18    65       0E
KeyF                46 . f                21   33    66       03
KeyG                47 . g                22   34    67       05
KeyH                48 . h                23   35    68       04
KeyI                49 . i                17   23    69       22
KeyJ                4A . j                24   36    6a       26
KeyK                4B . k                25   37    6b       28
KeyL                4C . l                26   38    6c       25
KeyM                4D . m                32   50    6d       2E
KeyN                4E . n                31   49    6e       2D
KeyO                4F . o                18   24    6f       1F
KeyP                50 . p                19   25    70       23
KeyQ                51 . q                10   16    71       0C
KeyR                52 . r                13   19    72       0F
KeyS                53 . s                1f   31    73       01
KeyT                54 . t                14   20    74       11
KeyU                55 . u                16   22    75       20
KeyV                56 . v                2f   47    76       09
KeyW                57 . w                11   17    77       0D
KeyX                58 . x                2d   45    78       07
KeyY                59 . y                15   21    79       10
KeyZ                5A . z                2c   44    7a       06
Backquote           C0 . grave_accent     29   41    60       32   grave backquote
Minus               BD . minus            0c   12    2d       1B
Equal               BB . equal            0d   13    3d       18   equals
Backspace           08 . backspace        0e   14    ff08     33   back
Tab                 09 . tab              0f   15    ff09     30
BracketLeft         DB . bracket_left     1a   26    5b       21
BracketRight        DD . bracket_right    1b   27    5d       1E
Backslash           DC . backslash        2b   43    5c       2A
CapsLock            14 . caps_lock        3a   58    ffe5     39   capslock caps
Semicolon           BA . semicolon        27   39    3b       29
Quote               DE . apostrophe       28   40    27       27   quote
Enter               0D . ret              1c   28    ff0d     24   return enter
ShiftLeft           10 . shift            2a   42    ffe1     38   shift_l
IntlBackslash       E2 . less             56   86    3c       0A   iso
Comma               BC . comma            33   51    2c       2B
Period              BE . dot              34   52    2e       2F   period
Slash               BF . slash            35   53    2f       2C
ShiftRight          A1 . shift_r          36   54    ffe2     3C
ControlLeft         11 . ctrl             1d   29    ffe3     3B   control ctrl_l
AltLeft             12 . alt              38   56    ffe9     3A   option opt alt_l option_l
MetaLeft            5B x meta_l           db   125   ffeb     37   cmd command super win meta cmd_l
Space               20 . spc              39   57    20       31   space
MetaRight           5C x meta_r           dc   126   ffec     36   cmd_r super_r
AltRight            12 x alt_r            b8   100   ffea     3D   option_r altgr
ControlRight        11 x ctrl_r           9d   97    ffe4     3E
ContextMenu         5D x compose          dd   127   ff67     3A   menu apps
PrintScreen         2C x print            54   99    ff61     72   printscreen sysrq
ScrollLock          91 . scroll_lock      46   70    ff14     -    scrolllock
Pause               13 . pause            c6   119   ff13     72
Insert              2D x insert           d2   110   ff63     72   ins
Delete              2E x delete           d3   111   ffff     75   del forward_delete
Home                24 x home             c7   102   ff50     73
End                 23 x end              cf   107   ff57     77
PageUp              21 x pgup             c9   104   ff55     74   pageup page_up
PageDown            22 x pgdn             d1   109   ff56     79   pagedown page_down
ArrowUp             26 x up               c8   103   ff52     7E
ArrowLeft           25 x left             cb   105   ff51     7B
ArrowDown           28 x down             d0   108   ff54     7D
ArrowRight          27 x right            cd   106   ff53     7C
NumLock             90 . num_lock         45   69    ff7f     47   numlock clear
NumpadDivide        6F x kp_divide        b5   98    ffaf     4B
NumpadMultiply      6A . kp_multiply      37   55    ffaa     43
NumpadSubtract      6D . kp_subtract      4a   74    ffad     4E   kp_minus
NumpadAdd           6B . kp_add           4e   78    ffab     45   kp_plus
NumpadEnter         0D x kp_enter         9c   96    ff8d     4C
NumpadDecimal       6E . kp_decimal       53   83    ffae     41
Numpad0             60 . kp_0             52   82    ffb0     52
Numpad1             61 . kp_1             4f   79    ffb1     53
Numpad2             62 . kp_2             50   80    ffb2     54
Numpad3             63 . kp_3             51   81    ffb3     55
Numpad4             64 . kp_4             4b   75    ffb4     56
Numpad5             65 . kp_5             4c   76    ffb5     57
Numpad6             66 . kp_6             4d   77    ffb6     58
Numpad7             67 . kp_7             47   71    ffb7     59
Numpad8             68 . kp_8             48   72    ffb8     5B
Numpad9             69 . kp_9             49   73    ffb9     5C
NumpadEqual         92 . kp_equals        59   117   ffbd     51
NumpadComma         C2 . kp_comma         7e   121   ffac     5F
IntlRo              C1 . ro               73   89    5f       5E
Lang1               15 . lang1            72   122   ff31     68
Lang2               19 . lang2            71   123   ff34     66
Convert             1C . henkan           79   92    ff23     -
NonConvert          1D . muhenkan         7b   94    ff22     -
Help                2F . help             f5   138   ff6a     72
AudioVolumeMute     AD x audiomute        a0   113   1008ff12 4A   mute
AudioVolumeDown     AE x volumedown       ae   114   1008ff11 49
AudioVolumeUp       AF x volumeup         b0   115   1008ff13 48
MediaTrackNext      B0 x audionext        99   163   1008ff17 -
MediaTrackPrevious  B1 x audioprev        90   165   1008ff16 -
MediaStop           B2 x audiostop        a4   166   1008ff15 -
MediaPlayPause      B3 x audioplay        a2   164   1008ff14 -
IntlYen             DC x yen              7d   124   a5       5D
KanaMode            15 x katakanahiragana 70   93    ff27     -    kana
Lang4               F2 . hiragana         77   91    ff25     -
BrowserBack         A6 x ac_back          ea   158   1008ff26 -
BrowserForward      A7 x ac_forward       e9   159   1008ff27 -
BrowserRefresh      A8 x ac_refresh       e7   173   1008ff29 -
BrowserFavorites    AB x ac_bookmarks     e6   156   1008ff30 -
BrowserHome         AC x ac_home          b2   172   1008ff18 -
LaunchMail          B4 x mail             ec   155   1008ff19 -
MediaSelect         B5 x mediaselect      ed   226   1008ff32 -
LaunchApp1          B6 x computer         eb   157   1008ff33 -
LaunchApp2          B7 x calculator       a1   140   1008ff1d -
Sleep               5F x sleep            df   142   1008ff2f -
"""

# Virtual keys without their own row, and the row that is used for them: (vk, extended).
ALIASES: dict[int, tuple[int, bool]] = {
    0x03: (0x1B, False),  # Cancel
    0x0C: (0x90, False),  # Clear: the key that is Num Lock on a PC
    0x29: (0x2F, False),  # Select
    0x2B: (0x2F, False),  # Execute
    0xA0: (0x10, False),  # left Shift
    0xA2: (0x11, False),  # left Ctrl
    0xA3: (0x11, True),  # right Ctrl
    0xA4: (0x12, False),  # left Alt
    0xA5: (0x12, True),  # right Alt
    0xE0: (0x5B, True),  # what Firefox calls the left Command key
    0xE1: (0x12, True),  # AltGr
    0xF0: (0x14, False),  # Eisu: Caps Lock on a Japanese keyboard
    0xF3: (0xC0, False),  # Hankaku and Zenkaku: the key left of 1 there
    0xF4: (0xC0, False),
}

# A Mac's code of an alias that differs from its row's: the separator is the main comma on a Mac.
MAC_ONLY: dict[int, int] = {0x6C: 0x2B}

# The characters of a US keyboard's keys: plain and with Shift.
US: dict[int, str] = {
    **{vk: chr(vk).lower() + chr(vk) for vk in range(0x41, 0x5B)},
    **{0x30 + digit: f"{digit}{shifted}" for digit, shifted in enumerate(")!@#$%^&*(")},
    0x20: "  ",
    0xBA: ";:",
    0xBB: "=+",
    0xBC: ",<",
    0xBD: "-_",
    0xBE: ".>",
    0xBF: "/?",
    0xC0: "`~",
    0xDB: "[{",
    0xDC: "\\|",
    0xDD: "]}",
    0xDE: "'\"",
}

# Characters that are keys: they move to the next field or line.
US_CONTROL: dict[str, int] = {"\n": 0x0D, "\r": 0x0D, "\t": 0x09}
