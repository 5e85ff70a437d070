#!/bin/sh
# Prints a version that dpkg and rpm both accept, and both order as we mean it,
# for a name that "git describe --tags --always --dirty" gives.
#
#   version.sh NAME EPOCH
#
#   v1.2.3                1.2.3
#   v1.2.3-rc.1           1.2.3~rc.1               before 1.2.3
#   v1.2.3-14-gd6b0e75    1.2.3+14.gd6b0e75        after 1.2.3, before 1.2.4
#   d6b0e75 (no tag yet)  0.0.0~git20261123194134.d6b0e75, by the commit's time
#   ...-dirty             ....dirty
set -eu
name=${1:?usage: version.sh NAME EPOCH}
epoch=${2:?usage: version.sh NAME EPOCH}

version=${name#v}
dirty=
case $version in *-dirty) version=${version%-dirty} dirty=.dirty ;; esac
case $version in
[0-9]*.[0-9]*) version=$(printf '%s\n' "$version" | sed -E 's/-([0-9]+)-g([0-9a-f]+)$/+\1.g\2/; s/-/~/; s/-/./g') ;;
*) version="0.0.0~git$(date -u -d "@$epoch" +%Y%m%d%H%M%S).$version" ;;
esac
case $version$dirty in *+*.dirty | *~git*) ;; *.dirty) dirty=+dirty ;; esac

version=$version$dirty
if ! printf '%s\n' "$version" | grep -qxE '[0-9][0-9A-Za-z.+~]*'; then
	echo "version.sh: $name cannot be the version of a package: use letters, digits, dots and hyphens, as in v1.2.3-rc.1" >&2
	exit 2
fi
printf '%s\n' "$version"
