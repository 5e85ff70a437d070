#!/bin/sh
# Runs every fuzz target of the module, one after the other, for the given time
# each. The targets are found in the tree, so that a new one cannot be forgotten.
#
#   fuzz.sh 60s
set -eu

time=${1:?usage: fuzz.sh TIME}

# "go test -list" prints the names of a package's targets, then the package.
list=$(go test -list '^Fuzz' ./...)
targets=$(printf '%s\n' "$list" | awk '
	/^Fuzz/    { names[++n] = $1; next }
	$1 == "ok" { for (i = 1; i <= n; i++) print $2, names[i]; n = 0 }')
if [ -z "$targets" ]; then
	echo "no fuzz target found" >&2
	exit 1
fi

# Go before 1.27 sometimes reports the end of the given time itself as a failure
# (go.dev/issue/75804): a bare "context deadline exceeded" without a failing
# input. That alone is let pass, after the seeds have been run once more. A
# number of executions, such as 2000x, has no end of time and no such report.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
printf '%s\n' "$targets" | while read -r package name; do
	echo "== $name in $package for $time"
	if go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" "$package" >"$log" 2>&1 </dev/null; then
		cat "$log"
		continue
	fi
	cat "$log"
	grep -q 'context deadline exceeded' "$log" || exit 1
	if grep -qE 'Failing input|panic:|_test\.go:[0-9]' "$log"; then exit 1; fi
	echo "== only the end of time was reported; running the seeds of $name again"
	go test -count=1 -run "^$name\$" "$package" </dev/null
done
