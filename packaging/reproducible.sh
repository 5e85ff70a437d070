#!/bin/sh
# Shows that the packages can be built again with the same bytes: makes them
# from two copies of this tree, in folders of different depth and age, with
# another umask, time zone and language, and compares the checksums.
#
#   reproducible.sh OUTDIR [--fresh] [OPTION of package.sh]...
#
# The second set lands in OUTDIR. --fresh compiles the second from nothing
# instead of from Go's cache: about two minutes more.
set -eu
unset CDPATH
outdir=${1:?usage: reproducible.sh OUTDIR [--fresh] [OPTION of package.sh]...}
shift
fresh=
if [ "${1:-}" = --fresh ]; then
	fresh=yes
	shift
fi
mkdir -p "$outdir"
outdir=$(cd "$outdir" && pwd)
cd "$(dirname "$0")/.."

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
NFPM=${NFPM:-$(packaging/nfpm.sh)}
export SOURCE_DATE_EPOCH NFPM
version=$(git describe --tags --always --dirty)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# copy puts what git knows, or would add, into another folder.
copy() {
	mkdir -p "$1"
	git ls-files -z --cached --others --exclude-standard |
		tar --null -T - --ignore-failed-read -cf - | tar -xf - -m -C "$1"
}
copy "$work/a"
copy "$work/a much/longer path/b"

(
	umask 022
	"$work/a/packaging/package.sh" "$work/first" --version "$version" "$@" >/dev/null
)
(
	umask 077
	export TZ=Pacific/Kiritimati LANG=tr_TR.UTF-8 LC_ALL=
	if [ -n "$fresh" ]; then export GOCACHE="$work/gocache"; fi
	"$work/a much/longer path/b/packaging/package.sh" "$outdir" --version "$version" "$@" >/dev/null
)

cat "$outdir/SHA256SUMS"
if ! diff "$work/first/SHA256SUMS" "$outdir/SHA256SUMS" >&2; then
	echo "reproducible.sh: two builds of the same tree differ" >&2
	exit 1
fi
echo "reproducible: two builds, the same bytes"
