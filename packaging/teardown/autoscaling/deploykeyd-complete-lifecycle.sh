#!/bin/sh
# Tells the Auto Scaling group that this machine may go, once its keys are revoked.
# deploykeyd-complete-lifecycle.service runs it when deploykeyd-preemption.service
# has ended. Where keys may remain, that service tries again until the group's
# time is over, and this is not reached.
set -eu

# Stopped by somebody, it has revoked nothing.
if [ "${MONITOR_EXIT_CODE:-}" != exited ] || [ "${MONITOR_EXIT_STATUS:-}" != 0 ]; then
	echo "nothing was revoked: the group is told nothing"
	exit 0
fi

imds() { curl --fail --silent --show-error --noproxy '*' --max-time 5 --retry 3 "$@"; }
session=$(imds --request PUT --header 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
item() { printf 'X-aws-ec2-metadata-token: %s\n' "$session" | imds --header @- "http://169.254.169.254/latest/meta-data/$1"; }

# A spot notice is no affair of the group.
state=$(item autoscaling/target-lifecycle-state || true)
if [ "$state" != Terminated ]; then
	echo "the group does not end this machine: it is told nothing"
	exit 0
fi
instance=$(item instance-id)
region=$(item placement/region)
exec aws autoscaling complete-lifecycle-action --region "$region" --instance-id "$instance" \
	--auto-scaling-group-name "$DEPLOYKEYD_GROUP" --lifecycle-hook-name deploykeyd --lifecycle-action-result CONTINUE
