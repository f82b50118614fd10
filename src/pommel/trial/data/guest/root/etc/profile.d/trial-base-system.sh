# Greets whoever started "Trial Base System" in the boot picker.
if [ "$(id -u)" = 0 ] && grep -q 'systemd.unit=rescue' /proc/cmdline; then
    clear
    echo
    echo "  Trial Base System"
    echo
    echo "  A root shell on TrialHD, without network or desktop."
    echo "  exit goes on to the desktop, reboot and poweroff do what they say."
    echo
    PS1='base-system# '
fi
