/* Connects to the socket named by its argument, and waits to be looked at. For tests/macos_check.py. */
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct sockaddr_un place = {.sun_family = AF_UNIX};
    int door = socket(AF_UNIX, SOCK_STREAM, 0);
    if (argc != 2 || door < 0 || strlen(argv[1]) >= sizeof place.sun_path) return 2;
    strcpy(place.sun_path, argv[1]);
    if (connect(door, (struct sockaddr *)&place, sizeof place) != 0) return 1;
    if (write(door, "x", 1) != 1) return 1;
    for (;;) pause();
}
