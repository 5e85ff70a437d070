#!/bin/sh
# Removes a Jenkins agent and its machine's keys: no new builds, the running ones
# to their end, the keys off every forge, and only then the node out of Jenkins.
#
#   jenkins-remove-agent.sh NODE TARGET [WAIT]
#
# NODE is the agent's name in Jenkins, TARGET its machine as revoke-over-ssh.sh
# takes it, WAIT how many seconds running builds get (900).
#
# JENKINS_URL is where Jenkins is. JENKINS_CURL_CONFIG is a file of mode 0600 with
# the line
#   user = "NAME:API-TOKEN"
# of a user with the permissions Agent/Disconnect and Agent/Delete.
#
# Exits 0 when all is done. Exits as revoke-over-ssh.sh does when keys may remain:
# the node then stays, offline, so that nobody takes the machine for done with.
set -eu

here=$(dirname "$0")
node=${1:-}
target=${2:-}
wait=${3:-900}
usage() {
	echo "usage: jenkins-remove-agent.sh NODE TARGET [WAIT]" >&2
	exit 2
}
case $node in '' | *[!A-Za-z0-9._-]*) usage ;; esac
case $wait in '' | *[!0-9]*) usage ;; esac
computer=${JENKINS_URL:?is not set: where Jenkins is}/computer/$node
config=${JENKINS_CURL_CONFIG:?is not set: a file with the API token}

jenkins() { curl --config "$config" --fail --silent --show-error --max-time 30 "$@"; }
state() { jenkins --globoff "$computer/api/json?tree=idle,temporarilyOffline"; }

# What is offline already would be put online by it.
before=$(state)
if printf '%s' "$before" | jq --exit-status '.temporarilyOffline == false' >/dev/null; then
	jenkins --request POST --data-urlencode "offlineMessage=its machine is being removed" "$computer/toggleOffline"
fi

waited=0
until state | jq --exit-status '.idle == true' >/dev/null; do
	if [ "$waited" -ge "$wait" ]; then
		echo "$node still builds after $wait s: nothing was revoked; it stays offline" >&2
		exit 1
	fi
	sleep 5
	waited=$((waited + 5))
done

status=0
"$here/revoke-over-ssh.sh" "$target" || status=$?
if [ "$status" != 0 ]; then
	echo "$node stays in Jenkins, offline, until its keys are gone" >&2
	exit "$status"
fi
jenkins --request POST "$computer/doDelete"
