#!/bin/sh
# Takes a machine's keys off every forge, before somebody deletes the machine.
#
#   revoke-over-ssh.sh TARGET [TIMEOUT]
#
# TARGET is what ssh is given, as user@host; that user may run deploykeyd with
# sudo. TIMEOUT is how long the revocation may take (60s).
#
# Exits 0 when no key is left. Any other exit status, which is that of
# "deploykeyd revoke" or of ssh, means that keys may remain: 3 says so with a list.
# What was said is then kept in HOST.keys-remain, in the folder that
# DEPLOYKEYD_LISTS names (the current one), since it goes with the machine.
set -eu
umask 077

usage() {
	echo "usage: revoke-over-ssh.sh TARGET [TIMEOUT]" >&2
	exit 2
}

target=${1:-}
timeout=${2:-60s}
case $target in '' | -* | *[!A-Za-z0-9@._-]*) usage ;; esac
case $timeout in '' | *[!0-9hms]*) usage ;; esac
list=${DEPLOYKEYD_LISTS:-.}/${target##*@}.keys-remain

status=0
said=$(ssh -o BatchMode=yes -o ConnectTimeout=10 -- "$target" sudo -n deploykeyd revoke --timeout "$timeout" 2>&1) || status=$?
if [ "$status" = 0 ]; then
	printf '%s\n' "$said"
	rm -f -- "$list"
	exit 0
fi
printf '%s\n' "$said" >&2
printf '%s\n' "$said" >"$list"
echo "keys of ${target##*@} may remain (exit status $status): what was said is kept in $list" >&2
exit "$status"
