#!/bin/sh
# Prints the path of the root file system that the boot tests boot, after making
# it when it is not there: Debian 12 with systemd, cloud-init and what a build
# machine has. About a minute and 400 MB.
#
#   rootfs.sh CACHE    keeps it in the folder CACHE
#
# A root file system is known by the hash of this script, so that a change here
# makes a new one. It appears under its name only when it is whole; what a killed
# build left is removed by the next one. Every mount lies in a mount namespace of
# the build's own and goes with it.
set -eu

suite=bookworm
packages=systemd,systemd-sysv,dbus,udev,openssh-client,git,ca-certificates,iproute2,ifupdown,nftables,procps

if [ $# -ne 1 ]; then
	echo "usage: rootfs.sh CACHE" >&2
	exit 2
fi
if [ "$(id -u)" != 0 ]; then
	echo "rootfs.sh: making a root file system takes root" >&2
	exit 1
fi
command -v debootstrap >/dev/null || {
	echo "rootfs.sh: debootstrap is missing: apt-get install debootstrap" >&2
	exit 1
}

mkdir -p "$1"
cache=$(cd "$1" && pwd)
root=$cache/rootfs-$(sha256sum <"$0" | cut -c 1-16)
exec 9>"$cache/lock"
flock 9
if [ -d "$root" ]; then
	echo "$root"
	exit
fi
# Under the lock nobody else is building: what lies here is what a killed build left.
rm -rf --one-file-system "$cache"/building.*
new=$(mktemp -d "$cache/building.XXXXXX")
chmod 755 "$new"
trap 'rm -rf --one-file-system "$new"' EXIT
trap 'exit 1' HUP INT TERM
echo "making $root: about a minute" >&2

# This machine's mirror of Debian, where its apt knows one for the suite.
mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(ORIGIN)' 'Created-By: Packages' 2>/dev/null |
	awk -v suite="$suite" '$2 == suite && $3 == "Debian" { print $1; exit }')
mirror=${mirror:-http://deb.debian.org/debian}

# Debootstrap cannot resolve the virtual package that cloud-init's dependencies
# need; apt can.
export DEBIAN_FRONTEND=noninteractive LC_ALL=C mirror suite packages new
unshare --mount --propagation private sh -euc '
	debootstrap --variant=minbase --include="$packages" "$suite" "$new" "$mirror"
	cat /etc/resolv.conf >"$new/etc/resolv.conf"
	cat /etc/hosts >"$new/etc/hosts"
	echo "deb $mirror $suite main" >"$new/etc/apt/sources.list"
	apt-config dump | grep -E "^Acquire::https?::" >"$new/etc/apt/apt.conf.d/host" || :
	mount --bind /proc "$new/proc"
	chroot "$new" apt-get update
	chroot "$new" apt-get install -y --no-install-recommends cloud-init
	chroot "$new" apt-get clean
' </dev/null >&2

# An image as one seals it: no identity, no lists, a journal that is kept, and
# cloud-init told where its data is and to leave the network alone.
rm -rf "$new"/var/lib/apt/lists/* "$new"/var/log/*.log "$new/etc/apt/apt.conf.d/host" "$new/etc/resolv.conf"
echo uninitialized >"$new/etc/machine-id"
rm -f "$new/var/lib/dbus/machine-id"
echo "127.0.0.1 localhost" >"$new/etc/hosts"
: >"$new/etc/fstab"
printf 'auto lo\niface lo inet loopback\n' >"$new/etc/network/interfaces"
mkdir -p "$new/var/log/journal" "$new/var/lib/cloud/seed/nocloud"
# On the first boot of such an image systemd enables every unit that no preset
# disables. This machine's network is ifupdown's.
mkdir -p "$new/etc/systemd/system-preset"
printf 'disable systemd-networkd*\n' >"$new/etc/systemd/system-preset/10-boot.preset"
# Nobody logs in at the console: what it shows goes into a file.
ln -s /dev/null "$new/etc/systemd/system/console-getty.service"
cat >"$new/etc/cloud/cloud.cfg.d/90_boot.cfg" <<'CFG'
datasource_list: [ NoCloud, None ]
network: {config: disabled}
locale: C.UTF-8
CFG

rm -rf --one-file-system "$cache"/rootfs-* # of other versions of this script
mv "$new" "$root"
trap - EXIT
echo "$root"
