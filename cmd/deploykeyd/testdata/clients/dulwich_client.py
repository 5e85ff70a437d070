"""dulwich, which runs ssh or logs in itself with paramiko.

    dulwich_client.py ssh|paramiko clone URL FOLDER    a URL "-" is read from the standard input
    dulwich_client.py ssh|paramiko tag FOLDER NAME     tags HEAD on the forge
"""

import sys

from dulwich import client, porcelain
from dulwich.contrib.paramiko_vendor import ParamikoSSHVendor, _ParamikoWrapper

from paramiko_login import login


class StrictVendor(ParamikoSSHVendor):
    """The vendor of dulwich itself accepts any host key."""

    def run_command(self, host, command, username=None, port=None, **kwargs):
        shell = login(host, port, username)
        channel = shell.get_transport().open_session()
        channel.exec_command(command)
        return _ParamikoWrapper(shell, channel)


def main(vendor, command, *args):
    if vendor == "paramiko":
        client.get_ssh_vendor = StrictVendor
    if command == "clone":
        url, folder = args
        if url == "-":
            url = sys.stdin.readline().strip()
        porcelain.clone(url, folder)
    elif command == "tag":
        folder, name = args
        porcelain.tag_create(folder, name)
        porcelain.push(folder, "origin", [f"refs/tags/{name}"])


main(*sys.argv[1:])
