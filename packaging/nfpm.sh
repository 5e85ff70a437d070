#!/bin/sh
# Prints the path of nfpm in the version that packaging/tools/go.mod names. It
# is built once for each version, inside the tree: 40 seconds on two cores.
set -eu
unset CDPATH GOOS GOARCH GOFLAGS
cd "$(dirname "$0")/tools"
version=$(go list -m -f '{{.Version}}' github.com/goreleaser/nfpm/v2)
nfpm=$(cd ../.. && pwd)/.cache/nfpm-$version/nfpm
if [ ! -x "$nfpm" ]; then
	CGO_ENABLED=0 go build -trimpath -o "$nfpm.$$" github.com/goreleaser/nfpm/v2/cmd/nfpm
	mv "$nfpm.$$" "$nfpm" # whole, should two build it at once
fi
echo "$nfpm"
