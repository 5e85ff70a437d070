"""Logins with paramiko at a host whose key deploykeyd has pinned."""

import paramiko


def login(host, port, username):
    client = paramiko.SSHClient()
    client.load_host_keys("/etc/ssh/deploykeyd_known_hosts")
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    client.connect(host, port or 22, username, look_for_keys=False, timeout=30)
    return client
