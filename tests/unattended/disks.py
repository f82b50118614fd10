#!/usr/bin/python3 -I
"""In place of the stand-in's `disks`, where no machine is: its disks are in the JSON file /run/recovery/disks."""

import json
import os
import sys
import time

STATE = "/run/recovery/disks"


def load() -> dict:
    with open(STATE) as file:
        return json.load(file)


def table() -> None:
    for name, disk in load().items():
        print("disk", name, disk["size"], sep="\t")
        for each in disk["volumes"]:
            whole = f"{name}9" if each["store"] else name
            print("volume", name, whole, each["device"], each["name"], *(each[key] or "-" for key in ("role", "mount", "store")), sep="\t")  # fmt: skip


def erase(disk: str, name: str) -> None:
    disks, place, number = load(), f"/Volumes/{name}", 0
    while os.path.exists(place):
        number += 1
        place = f"/Volumes/{name} {number}"
    os.mkdir(place)
    made = {"device": f"{disk}9s1", "name": name, "role": None, "mount": place, "store": f"{disk}s2"}
    disks[disk]["volumes"] = [made]
    with open(STATE, "w") as file:
        json.dump(disks, file)


def install(volume: str) -> None:
    with open("/run/recovery/exits", "r+") as file:
        status, *left = json.load(file)
        file.seek(0)
        file.truncate()
        json.dump(left, file)
    os.makedirs(f"{volume}/macOS Install Data", exist_ok=True)
    for percent in (0.0, 42.5, 168.0):
        print(f"Preparing: {percent}%", flush=True)
        time.sleep(0.1)
    sys.exit(status)


match sys.argv[1:]:
    case ["table"]:
        table()
    case ["erase", disk, name]:
        erase(disk, name)
    case ["mount", _] | ["restart"]:
        pass
    case ["install", volume]:
        install(volume)
    case other:
        sys.exit(f"disks: {other}")
