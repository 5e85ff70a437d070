#!/bin/sh
# Installs, upgrades, removes and purges the packages in a throw-away copy of a
# Debian 12 without network, and checks after each step what is there. systemd
# does not run in it; where a step is about a system that runs, a program in
# the place of systemctl writes down what it was asked. The boot tests do the
# same on a system that does run.
#
#   check-install.sh OLD NEW [ROOT]
#
# OLD and NEW are folders that package.sh filled, with a lower and a higher
# version. ROOT is the root file system, else the one of the boot tests.
set -eu
export LC_ALL=C
unset CDPATH
old=$(cd "${1:?usage: check-install.sh OLD NEW [ROOT]}" && pwd)
new=$(cd "${2:?usage: check-install.sh OLD NEW [ROOT]}" && pwd)
cd "$(dirname "$0")/.."
if [ -z "${CHECK_INSTALL:-}" ]; then
	root=${3:-$(packaging/boot/rootfs.sh .cache/boot)}
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	trap 'exit 1' HUP INT TERM
	# Mounts, processes and the network end with this namespace.
	CHECK_INSTALL=$work unshare --mount --mount-proc --pid --net --fork --kill-child --propagation private \
		"packaging/${0##*/}" "$old" "$new" "$root"
	exit
fi

work=$CHECK_INSTALL
root=$work/root
deb=_$(dpkg --print-architecture).deb rpm=.$(uname -m).rpm
deb_old=$(echo "$old"/*"$deb") deb_new=$(echo "$new"/*"$deb")
rpm_old=$(echo "$old"/*"$rpm") rpm_new=$(echo "$new"/*"$rpm")

failed=0
step=
begin() { step=$1; echo "== $step"; }
wrong() {
	echo "check-install.sh: $step: $*" >&2
	failed=1
}
must() {
	"$@" && return
	wrong "not so: $*"
	case $1 in dpkg_ | rpm_) sed 's/^/    /' "$work/said" >&2 ;; esac
}
never() { if "$@"; then wrong "so, and must not be: $*"; fi; }

run() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C ${leave:+DEPLOYKEYD_LEAVE_KEYS=1} "$@"; }
dpkg_() { run chroot "$root" dpkg --force-unsafe-io "$@" >"$work/said" 2>&1; }
rpm_() { run rpm --root "$root" --dbpath /var/lib/rpm --nodeps "$@" >"$work/said" 2>&1; }
said() { grep -q "$1" "$work/said"; }
has_user() { grep -q '^deploykeyd:' "$root/etc/passwd"; }
exists() { [ -e "$root$1" ] || [ -h "$root$1" ]; }
asked() { grep -q "$1" "$root/run/asked" 2>/dev/null; }

# fresh gives every test the same system.
fresh() {
	mountpoint -q "$root" && umount -R "$root"
	rm -rf "$work/upper" "$work/work"
	mkdir -p "$work/upper" "$work/work" "$root"
	mount -t overlay overlay -o "lowerdir=$base,upperdir=$work/upper,workdir=$work/work" "$root"
	mount -t proc proc "$root/proc"
	mount -t tmpfs -o mode=755 tmpfs "$root/run"
	cp "$deb_old" "$root/old.deb"
	cp "$deb_new" "$root/new.deb"
	leave=
	list >"$work/before"
}
base=$3

# list is every file with its owner and mode, and the content of those in /etc.
# Left out is what dpkg, rpm and the account tools keep for themselves.
list() {
	(
		cd "$root"
		find etc usr var run -xdev \( -path var/lib/dpkg -o -path var/lib/rpm -o -path var/cache \) -prune -o -printf '%M %u %g %p %l\n'
		find etc -xdev -type f -exec sha256sum {} +
	) | grep -vE ' (etc/(passwd|group|shadow|gshadow|subuid|subgid)-|etc/\.pwd\.lock|var/lib/?|var/log/dpkg\.log|run/(asked|active|stubborn|systemd.*)|usr/bin/(systemctl.*|sleep))( |$)' | sort
}
unchanged() { list | diff "$work/before" - >&2 || wrong "< was there before, > is left"; }

# running makes it look as if systemd runs, the daemon too.
running() {
	mkdir -p "$root/run/systemd/system"
	mv "$root/usr/bin/systemctl" "$root/usr/bin/systemctl.real"
	cat >"$root/usr/bin/systemctl" <<-'END'
		#!/bin/sh
		echo "$*" >>/run/asked
		case $* in
		*disable*) exec systemctl.real --root=/ "$@" ;;
		*is-active*) [ -e /run/active ] ;;
		*MainPID*) cat /run/active ;;
		reload*) [ -e /run/stubborn ] || kill "$(cat /run/active)" ;;
		stop\ deploykeyd.service) rm -f /run/active ;;
		esac
	END
	chmod 755 "$root/usr/bin/systemctl"
}

# daemon runs a program whose file has been replaced, as an upgrade leaves it.
# A reload ends it here, where the real one would become the new program.
daemon() {
	cp "$root/usr/bin/sleep" "$root/run/outdated"
	chroot "$root" /run/outdated 600 &
	echo $! >"$root/run/active"
	until grep -qs outdated "$root/proc/$!/comm"; do :; done
	rm "$root/run/outdated"
}

# No key, no state, nothing enabled: what installing must leave everywhere.
at_rest() {
	must has_user
	must exists /etc/deploykeyd/credentials
	never exists /etc/deploykeyd/deploykeyd.yaml
	never exists /var/lib/deploykeyd
	never exists /run/deploykeyd
	never exists /etc/ssh/ssh_config.d/50-deploykeyd.conf
	never find_wants
	never asked '\(^\| \)\(start\|restart\|enable\|preset\)'
}
find_wants() { find "$root/etc/systemd" "$root/run/systemd" -name 'deploykeyd*' 2>/dev/null | grep .; }

# leave_traces writes what the program writes outside its own directories.
leave_traces() {
	mkdir -p "$root/etc/ssh/ssh_config.d" "$root/etc/systemd/system/jenkins-agent.service.d" "$root/etc/systemd/system/own.service.d"
	echo '# Written by deploykeyd ssh-config; changes made here are lost.' |
		tee "$root/etc/ssh/ssh_config.d/50-deploykeyd.conf" >"$root/etc/ssh/deploykeyd_known_hosts"
	touch "$root/etc/systemd/system/jenkins-agent.service.d/50-deploykeyd-gate.conf" \
		"$root/etc/systemd/system/own.service.d/50-deploykeyd-gate.conf" "$root/etc/systemd/system/own.service.d/60-own.conf"
	run systemctl --quiet --root="$root" enable deploykeyd.service deploykeyd-preemption.service
	touch "$root/etc/deploykeyd/deploykeyd.yaml" "$root/etc/deploykeyd/credentials/token"
	mkdir -p "$root/run/deploykeyd"
}
no_traces() {
	never exists /etc/ssh/ssh_config.d/50-deploykeyd.conf
	never exists /etc/ssh/deploykeyd_known_hosts
	never exists /etc/systemd/system/jenkins-agent.service.d
	never exists /etc/systemd/system/own.service.d/50-deploykeyd-gate.conf
	must exists /etc/systemd/system/own.service.d/60-own.conf
	never find_wants
	rm -r "$root/etc/systemd/system/own.service.d"
}

# A journal that cannot be read may name any number of keys.
damage_journal() {
	mkdir -p "$root/var/lib/deploykeyd"
	echo damaged >"$root/var/lib/deploykeyd/journal.db"
}

deb_image() {
	begin "deb: installed into an image"
	fresh
	must dpkg_ -i /old.deb
	at_rest
	must dpkg_ -V deploykeyd
	begin "deb: the first boot of that image"
	must run systemctl --quiet --root="$root" preset-all --preset-mode=enable-only 2>/dev/null # it complains of masked units
	never find_wants
	fresh
	begin "deb: upgraded and removed in an image"
	must dpkg_ -i /old.deb
	must dpkg_ -i /new.deb
	at_rest
	must dpkg_ --purge deploykeyd
	unchanged
}

deb_running() {
	begin "deb: installed on a running system"
	fresh
	running
	must dpkg_ -i /old.deb
	at_rest
	must asked daemon-reload
	leave_traces

	begin "deb: upgraded under a daemon"
	daemon
	must dpkg_ -i /new.deb
	must asked '^reload deploykeyd.service$'
	never said 'still runs the version before'
	never asked 'stop\|disable'
	never asked '\(^\| \)restart'

	begin "deb: upgraded under a daemon that does not reload"
	touch "$root/run/stubborn"
	daemon
	ln -sf true "$root/usr/bin/sleep" # nobody waits for what never comes
	must dpkg_ -i /new.deb
	must said 'still runs the version before'
	kill "$(cat "$root/run/active")"

	begin "deb: removed, keys may remain"
	damage_journal
	never dpkg_ --remove deploykeyd
	must said 'keys may remain'
	must said 'DEPLOYKEYD_LEAVE_KEYS=1'
	must asked '^stop deploykeyd.service$'
	must exists /usr/bin/deploykeyd
	must exists /etc/ssh/ssh_config.d/50-deploykeyd.conf

	begin "deb: removed all the same"
	leave=yes
	must dpkg_ --remove deploykeyd
	leave=
	must said 'left on the forges'
	must exists /var/lib/deploykeyd/journal.db
	no_traces

	must exists /etc/deploykeyd/credentials/token

	begin "deb: purged"
	must dpkg_ --purge deploykeyd
	never has_user
	unchanged
}

rpm_image() {
	begin "rpm: installed into an image"
	fresh
	# Folders that belong to another package on a system with rpm.
	mkdir -p "$root/usr/share/fish/vendor_completions.d" "$root/usr/share/licenses" "$root/usr/share/zsh/site-functions"
	list >"$work/before"
	must rpm_ -i "$rpm_old"
	at_rest
	begin "rpm: upgraded"
	must rpm_ -U "$rpm_new"
	at_rest
	begin "rpm: erased"
	must rpm_ -e deploykeyd
	must has_user # as is the custom there
	sed -i '/^deploykeyd:/d' "$root"/etc/passwd "$root"/etc/group "$root"/etc/shadow "$root"/etc/gshadow
	unchanged
}

# What somebody else wrote under our names stays, and a unit that may not start
# is no obstacle.
deb_foreign() {
	begin "deb: removed beside a file and a mask of somebody else's"
	fresh
	must dpkg_ -i /old.deb
	mkdir -p "$root/etc/ssh/ssh_config.d"
	echo '# mine' >"$root/etc/ssh/ssh_config.d/50-deploykeyd.conf"
	run systemctl --quiet --root="$root" mask deploykeyd.service
	must dpkg_ --purge deploykeyd
	must exists /etc/ssh/ssh_config.d/50-deploykeyd.conf
	must exists /etc/systemd/system/deploykeyd.service
}

rpm_running() {
	begin "rpm: upgraded under a daemon"
	fresh
	running
	must rpm_ -i "$rpm_old"
	at_rest
	leave_traces
	daemon
	must rpm_ -U "$rpm_new"
	must asked '^reload deploykeyd.service$'
	never asked 'stop\|disable'
	must exists /etc/ssh/ssh_config.d/50-deploykeyd.conf

	begin "rpm: erased, keys may remain"
	damage_journal
	never rpm_ -e deploykeyd
	must said 'DEPLOYKEYD_LEAVE_KEYS=1'
	must exists /usr/bin/deploykeyd

	begin "rpm: erased all the same"
	leave=yes
	must rpm_ -e deploykeyd
	must exists /var/lib/deploykeyd/journal.db
	must exists /etc/deploykeyd/credentials/token
	no_traces
}

deb_image
deb_running
deb_foreign
rpm_image
rpm_running
[ $failed = 0 ] && echo "check-install.sh: installing, upgrading and removing do what they should"
exit $failed
