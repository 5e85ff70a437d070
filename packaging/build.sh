#!/bin/sh
# Builds one of our programs as it is shipped: static, the same bytes in every
# directory, with signing erasing what it leaves in memory (runtime/secret,
# docs/decisions.md).
#
#   build.sh OUTPUT PACKAGE
#
# VERSION names the version, else git does. GOOS and GOARCH are Go's own.
set -eu
output=${1:?usage: build.sh OUTPUT PACKAGE}
package=${2:?usage: build.sh OUTPUT PACKAGE}
case $output in /*) ;; *) output=$PWD/$output ;; esac
cd "$(dirname "$0")/.."

version=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo dev)}

# What a developer's environment sets must not be in what others run.
unset GOFLAGS GOAMD64 GOARM64
CGO_ENABLED=0 GOEXPERIMENT=runtimesecret exec go build -trimpath -buildvcs=false \
	-ldflags "-s -w -X deploykeyd/cmd/deploykeyd/cli.version=$version" -o "$output" "$package"
