"""paramiko alone: a program that speaks git's protocol over a login of its own.

    paramiko_client.py clone URL FOLDER    reads the forge's list of references;
                                           a URL "-" is read from the standard input
    paramiko_client.py tag FOLDER NAME     tags HEAD on the forge
"""

import hashlib
import os
import sys
from urllib.parse import urlsplit

from paramiko_login import login


def packet(line):
    return b"%04x%s" % (len(line) + 4, line)


def packets(stream):
    """Yields lines up to the flush packet."""
    while (size := int(stream.read(4), 16)) > 0:
        yield stream.read(size - 4)


def run(service, url):
    """Starts a git service and returns its channel, stream and references."""
    u = urlsplit(url)
    shell = login(u.hostname, u.port, u.username)
    channel = shell.get_transport().open_session()
    channel.exec_command(f"{service} '{u.path}'")
    stream = channel.makefile("rb")
    try:
        lines = [line.split(b"\0")[0].strip() for line in packets(stream)]
    except ValueError:
        sys.exit(channel.makefile_stderr("rb").read().decode())
    return shell, channel, stream, dict(line.split(b" ")[::-1] for line in lines)


def clone(url, folder):
    shell, channel, _, references = run("git-upload-pack", url)
    channel.sendall(b"0000")
    shell.close()
    os.mkdir(folder)
    with open(os.path.join(folder, "url"), "w") as f:
        f.write(url)
    with open(os.path.join(folder, "HEAD"), "wb") as f:
        f.write(references[b"refs/heads/main"])


def tag(folder, name):
    with open(os.path.join(folder, "url")) as f:
        url = f.read()
    with open(os.path.join(folder, "HEAD"), "rb") as f:
        commit = f.read()
    shell, channel, stream, _ = run("git-receive-pack", url)
    # A pack without objects: the forge has them all.
    pack = b"PACK" + (2).to_bytes(4, "big") + (0).to_bytes(4, "big")
    update = b"%040d %s refs/tags/%s\0report-status" % (0, commit, name.encode())
    channel.sendall(packet(update) + b"0000" + pack + hashlib.sha1(pack).digest())
    report = list(packets(stream))
    shell.close()
    if any(not line.startswith((b"unpack ok", b"ok ")) for line in report):
        sys.exit(repr(report))


def main(command, *args):
    if command == "clone":
        url, folder = args
        clone(sys.stdin.readline().strip() if url == "-" else url, folder)
    elif command == "tag":
        tag(*args)


main(*sys.argv[1:])
