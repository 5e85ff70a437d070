#!/bin/sh
# Ends a Bamboo agent and takes its machine's keys off every forge.
#
#   bamboo-remove-agent.sh TARGET
#
# TARGET is the agent's machine as revoke-over-ssh.sh takes it. Disable the agent
# in Bamboo first and let it finish: a build that runs ends with the agent.
#
# Exits 0 when the agent is stopped and no key is left: then remove the agent in
# Bamboo, and the machine. Exits as revoke-over-ssh.sh does when keys may remain.
set -eu

here=$(dirname "$0")
target=${1:-}
case $target in
'' | -* | *[!A-Za-z0-9@._-]*)
	echo "usage: bamboo-remove-agent.sh TARGET" >&2
	exit 2
	;;
esac

# A revocation under a build would break it: first the agent, then the keys.
ssh -o BatchMode=yes -o ConnectTimeout=10 -- "$target" sudo -n systemctl stop bamboo-agent.service
exec "$here/revoke-over-ssh.sh" "$target"
