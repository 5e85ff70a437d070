#!/bin/sh
# Makes sure that the programs a make target needs are there. Missing ones are
# installed with apt-get when that exists and we are root; otherwise the exact
# command to install them is printed and the exit status is 1.
#
#   setup.sh build    what building needs: Go
#   setup.sh test     what tests, benchmarks and the demo need as well
set -eu

packages=
need() { packages="$packages $1"; }
have() { command -v "$1" >/dev/null 2>&1; }

# The race detector links with C: a compiler alone, without the C library's
# headers, is not enough.
can_compile_c() {
	have "${CC:-gcc}" &&
		printf '#include <stdlib.h>\nint main(void) { return 0; }\n' |
		"${CC:-gcc}" -x c -o /dev/null - >/dev/null 2>&1
}

check_go() {
	have go && return
	echo "Go is missing: install Go 1.26 or later from https://go.dev/dl/ and put its bin folder on the PATH" >&2
	exit 1
}

check_test_programs() {
	have git || need git
	have ssh && have ssh-keygen || need openssh-client
	have unshare && have setpriv || need util-linux
	have mount || need mount
	have getent || need libc-bin
	can_compile_c || need "gcc libc6-dev"
}

install() {
	[ -n "$packages" ] || return 0
	if [ "$(id -u)" = 0 ] && have apt-get; then
		echo "installing:$packages"
		export DEBIAN_FRONTEND=noninteractive
		# shellcheck disable=SC2086 # one word for each package
		apt-get install -y --no-install-recommends $packages </dev/null && return
		# The package lists of a fresh machine are empty or too old.
		apt-get update </dev/null
		# shellcheck disable=SC2086
		apt-get install -y --no-install-recommends $packages </dev/null
		return
	fi
	echo "missing programs; on Debian or Ubuntu install them with:" >&2
	echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends$packages" >&2
	exit 1
}

case "${1:-}" in
build) check_go ;;
test)
	check_go
	check_test_programs
	install
	;;
*)
	echo "usage: setup.sh build|test" >&2
	exit 2
	;;
esac
