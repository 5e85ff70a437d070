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

printf '%s\n' "$targets" | while read -r package name; do
	echo "== $name in $package for $time"
	go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" "$package" </dev/null
done
