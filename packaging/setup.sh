#!/bin/sh
# Makes sure that the programs a make target needs are there. Missing ones are
# installed with apt-get when that exists and we are root; otherwise the exact
# command to install them is printed and the exit status is 1.
#
#   setup.sh build    what building needs: Go
#   setup.sh demo     what the demo and the benchmarks need as well
#   setup.sh test     what the tests need: the C library and all SSH clients too
#   setup.sh package  what making and checking the packages needs
#   setup.sh boot     what booting them needs as well
set -eu
cd "$(dirname "$0")/.."

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

check_demo_programs() {
	have git || need git
	have ssh && have ssh-keygen || need openssh-client
	have unshare && have setpriv || need util-linux
	have mount || need mount
	have getent || need libc-bin
}

check_test_programs() {
	check_demo_programs
	can_compile_c || need "gcc libc6-dev"
	check_clients
	have systemd-analyze || need systemd
	have nft || need nftables
	have ip || need iproute2
	have curl || need curl
	have jq || need jq
	have mandoc || need mandoc
	have_python_module jsonschema || need python3-jsonschema
	[ -e /usr/share/bash-completion/bash_completion ] || need bash-completion
	have_sshd || have_library libwrap.so.0 || need libwrap0 # what a bare system lacks of its libraries
}

# The SSH clients of docs/clients.md. Java is by far the largest: 217 of the
# 281 MB that all of them take on a bare Debian 12.
check_clients() {
	have git-lfs || need git-lfs
	have plink || need putty-tools
	have dbclient || need dropbear-bin
	have_python_module pygit2 || need python3-pygit2
	have_python_module dulwich || need python3-dulwich
	have_python_module paramiko || need python3-paramiko
	have java || need default-jre-headless
	have jgit || need jgit-cli
}

# Debian's modules are for Debian's Python, which may not be the first on the PATH.
have_python_module() { /usr/bin/python3 -c "import $1" >/dev/null 2>&1; }

have_library() { ldconfig -p 2>/dev/null | grep -q "$1" || /sbin/ldconfig -p 2>/dev/null | grep -q "$1"; }

sshd=.cache/openssh-server
have_sshd() { [ -x /usr/sbin/sshd ] || [ -x $sshd/usr/sbin/sshd ]; }

# OpenSSH's server is unpacked beside the tests, not installed: as a package it
# would serve this machine's users from then on.
unpack_sshd() {
	have_sshd && return
	if ! have apt-get || ! have dpkg-deb; then
		echo "sshd is missing: install OpenSSH's server, or unpack it into $sshd" >&2
		exit 1
	fi
	mkdir -p $sshd
	(
		cd $sshd
		apt-get download openssh-server || { apt-get update </dev/null && apt-get download openssh-server; }
		dpkg-deb -x openssh-server_*.deb .
		rm openssh-server_*.deb
	)
}

check_package_programs() {
	have git || need git
	have dpkg-deb || need dpkg
	have lintian || need lintian
	have rpm || need rpm
	have rpm2archive || need rpm2cpio
	have mandoc || need mandoc
}

check_boot_programs() {
	check_package_programs
	check_demo_programs
	have systemd-nspawn || need systemd-container
	have debootstrap || need debootstrap
	have ip || need iproute2
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
demo)
	check_go
	check_demo_programs
	install
	;;
test)
	check_go
	check_test_programs
	install
	unpack_sshd
	;;
package)
	check_go
	check_package_programs
	install
	;;
boot)
	check_go
	check_boot_programs
	install
	;;
*)
	echo "usage: setup.sh build|demo|test|package|boot" >&2
	exit 2
	;;
esac
