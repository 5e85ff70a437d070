"""libgit2, through pygit2, with the keys of the agent at SSH_AUTH_SOCK.

    pygit2_client.py clone URL FOLDER    a URL "-" is read from the standard input
    pygit2_client.py tag FOLDER NAME     tags HEAD on the forge
"""

import sys

import pygit2


class Callbacks(pygit2.RemoteCallbacks):
    def credentials(self, url, username_from_url, allowed_types):
        return pygit2.KeypairFromAgent(username_from_url)

    def certificate_check(self, certificate, valid, host):
        # Without this method pygit2 accepts any host key. "valid" is what
        # libgit2 found in ~/.ssh/known_hosts.
        return valid


def main(command, *args):
    if command == "clone":
        url, folder = args
        if url == "-":
            url = sys.stdin.readline().strip()
        pygit2.clone_repository(url, folder, callbacks=Callbacks())
    elif command == "tag":
        folder, name = args
        repository = pygit2.Repository(folder)
        ref = f"refs/tags/{name}"
        repository.references.create(ref, repository.head.target)
        repository.remotes["origin"].push([f"{ref}:{ref}"], callbacks=Callbacks())


main(*sys.argv[1:])
