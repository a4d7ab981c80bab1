"""Processes in which every connection and every look-up of a host ends the process, with code 77 and a line that says so."""

from pathlib import Path

GUARD = """
import os, sys
def guard(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        if not (event == "socket.connect" and isinstance(arguments[1], (str, bytes))):  # a socket of this machine has a path
            print("NETWORK", event, arguments[1:], file=sys.stderr, flush=True)
            if "GUARD_LOG" in os.environ:  # of a process whose exit code and words nobody sees
                with open(os.environ["GUARD_LOG"], "a") as file:
                    print(sys.argv, event, arguments[1:], file=file)
            os._exit(77)
sys.addaudithook(guard)
"""
CONNECTION = "import socket; socket.create_connection(('127.0.0.1', 9))"


def of_a_new_user(folder: Path) -> dict[str, str]:
    """The environment of somebody who has not run DVC before; each interpreter that starts in it is guarded, and folder/log.txt says
    who spoke to anybody."""
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(GUARD)
    empty = dict.fromkeys(("CI", "DVC_TEST", "DVC_NO_ANALYTICS", "GITHUB_ACTIONS", "HF_HUB_OFFLINE"), "")
    own = {"HOME": home, "DVC_SITE_CACHE_DIR": home / "site", "DVC_GLOBAL_CONFIG_DIR": home / "config", "PYTHONPATH": folder}
    return empty | {name: str(path) for name, path in own.items()} | {"GUARD_LOG": str(folder / "log.txt")}
