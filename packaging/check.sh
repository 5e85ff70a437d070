#!/bin/sh
# Checks what package.sh made: names, modes and owners of everything in the deb
# and the rpm, the binary, the SBOM, the manual pages, and what lintian and rpm
# say. How installing behaves is checked by check-install.sh.
#
#   check.sh OUTDIR
set -eu
export LC_ALL=C
unset CDPATH
outdir=$(cd "${1:?usage: check.sh OUTDIR}" && pwd)
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
failed=0
wrong() {
	echo "check.sh: $*" >&2
	failed=1
}
for program in dpkg-deb lintian rpm mandoc; do
	command -v $program >/dev/null || { echo "check.sh: $program is missing: packaging/setup.sh package installs it" >&2; exit 1; }
done

# expected is what both packages hold besides what the next two functions add.
expected() {
	cat <<-'END'
		drwxr-xr-x root root /etc/deploykeyd
		drwx------ root root /etc/deploykeyd/credentials
		-rw-r--r-- root root /etc/deploykeyd/metadata.nft
		-rwxr-xr-x root root /usr/bin/deploykeyd
		-rw-r--r-- root root /usr/lib/systemd/system-preset/50-deploykeyd.preset
		-rw-r--r-- root root /usr/lib/systemd/system/deploykeyd-metadata.service
		-rw-r--r-- root root /usr/lib/systemd/system/deploykeyd-preemption.service
		-rw-r--r-- root root /usr/lib/systemd/system/deploykeyd.service
		-rw-r--r-- root root /usr/lib/sysusers.d/deploykeyd.conf
		-rw-r--r-- root root /usr/lib/tmpfiles.d/deploykeyd.conf
		-rw-r--r-- root root /usr/share/bash-completion/completions/deploykeyd
		drwxr-xr-x root root /usr/share/doc/deploykeyd
		-rw-r--r-- root root /usr/share/doc/deploykeyd/CHANGELOG.md.gz
		-rw-r--r-- root root /usr/share/doc/deploykeyd/examples/deploykeyd.yaml
		-rw-r--r-- root root /usr/share/doc/deploykeyd/third-party-notices.gz
		-rw-r--r-- root root /usr/share/fish/vendor_completions.d/deploykeyd.fish
		-rw-r--r-- root root /usr/share/man/man5/deploykeyd.yaml.5.gz
		-rw-r--r-- root root /usr/share/man/man8/deploykeyd.8.gz
	END
}
expected_deb() {
	cat <<-'END'
		-rw-r--r-- root root /usr/share/doc/deploykeyd/changelog.gz
		-rw-r--r-- root root /usr/share/doc/deploykeyd/copyright
		-rw-r--r-- root root /usr/share/lintian/overrides/deploykeyd
		-rw-r--r-- root root /usr/share/zsh/vendor-completions/_deploykeyd
	END
}
expected_rpm() {
	cat <<-'END'
		drwxr-xr-x root root /usr/share/licenses/deploykeyd
		-rw-r--r-- root root /usr/share/licenses/deploykeyd/LICENSE
		-rw-r--r-- root root /usr/share/zsh/site-functions/_deploykeyd
	END
}

# examples are whatever the tree has: their modes are held to a rule instead.
examples=/usr/share/doc/deploykeyd/examples

# compare FILE KIND LIST holds a package's list against what is expected of it.
compare() {
	{ expected; "expected_$2"; } | sort -k4 >"$work/want"
	grep -v " $examples" "$3" >"$work/got" || true
	grep " $examples/deploykeyd.yaml\$" "$3" >>"$work/got" || true
	sort -k4 -o "$work/got" "$work/got"
	diff "$work/want" "$work/got" >&2 || wrong "$1: < is expected, > is there"
	for folder in cloud-init teardown nftables; do
		grep -q " $examples/$folder/." "$3" || wrong "$1: no example of $folder"
	done
	if grep " $examples" "$3" | grep -vE '^(drwxr-xr-x|-rw-r--r--|-rwxr-xr-x) root root ' >&2; then wrong "$1: modes of examples"; fi
}

# binary FILE ARCH GIVEN: the program in a package is the bare one.
binary() {
	cmp "$3" "$outdir"/deploykeyd-*-linux-"$2" || wrong "$1: the program is not the bare binary"
}

deb() {
	dpkg-deb --fsys-tarfile "$1" | tar -tvf - | awk '{
		sub("/", " ", $2); path = substr($6, 2); sub("/$", "", path)
		if ($1 != "drwxr-xr-x" || path ~ /deploykeyd/) print $1, $2, path # the others are the system
	}' >"$work/list"
	compare "$1" deb "$work/list"
	mkdir "$work/deb"
	dpkg-deb -x "$1" "$work/deb"
	dpkg-deb -e "$1" "$work/deb/DEBIAN"
	[ "$(cat "$work/deb/DEBIAN/conffiles")" = /etc/deploykeyd/metadata.nft ] || wrong "$1: its configuration files are others"
	binary "$1" "$2" "$work/deb/usr/bin/deploykeyd"
	for page in man8/deploykeyd.8 man5/deploykeyd.yaml.5; do
		gzip -dc "$work/deb/usr/share/man/$page.gz" | mandoc -Tlint -W warning || wrong "$1: $page"
	done
	rm -rf "$work/deb"
	lintian --allow-root --fail-on error,warning "$1" || wrong "$1: lintian"
}

rpm_() {
	rpm -qplv "$1" 2>/dev/null | awk '{ print $1, $3, $4, $NF }' >"$work/list"
	compare "$1" rpm "$work/list"
	rpm -K --nosignature "$1" >/dev/null || wrong "$1: digests"
	mkdir "$work/rpm"
	rpm2archive - <"$1" 2>/dev/null | tar -xzf - -C "$work/rpm" ./usr/bin/deploykeyd
	binary "$1" "$2" "$work/rpm/usr/bin/deploykeyd"
	rm -rf "$work/rpm"
}

# sbom FILE BINARY: it names what the linker put into the binary, and no more.
sbom() {
	go version -m "$2" | awk '$1 == "dep" { print $2 "@" $3 }' | sort >"$work/want"
	sed -n 's|^ *"purl": "pkg:golang/\(.*\)",\{0,1\}$|\1|p' "$1" | grep -v '^std@' | sort >"$work/got"
	[ -s "$work/want" ] && diff "$work/want" "$work/got" >&2 || wrong "$1: < is in the binary, > in the SBOM"
	grep -q "\"$(sha256sum <"$2" | cut -d' ' -f1)\"" "$1" || wrong "$1: not of this binary"
}

(cd "$outdir" && sha256sum --quiet -c SHA256SUMS) || wrong "SHA256SUMS"
for arch in amd64 arm64; do
	for file in "$outdir"/deploykeyd_*_$arch.deb; do deb "$file" $arch; done
	bare=$(echo "$outdir"/deploykeyd-*-linux-$arch)
	go version -m "$bare" | grep -q "GOARCH=$arch\$" || wrong "$bare: not for $arch"
	go version -m "$bare" | grep -q 'GOEXPERIMENT=runtimesecret$' || wrong "$bare: signing leaves traces: no runtimesecret"
	[ "$(wc -c <"$bare")" -le 15000000 ] || wrong "$bare: over 15 MB"
	sbom "$bare.cdx.json" "$bare"
	tar -xzOf "$bare.tar.gz" --wildcards '*/deploykeyd' | cmp - "$bare" || wrong "$bare.tar.gz: not the bare binary"
done
for file in "$outdir"/deploykeyd-*.x86_64.rpm; do rpm_ "$file" amd64; done
for file in "$outdir"/deploykeyd-*.aarch64.rpm; do rpm_ "$file" arm64; done

# Names that git gives, and the order in which packages replace each other.
previous=
for name in d6b0e75 v1.2.3-alpha v1.2.3-rc.1 v1.2.3-rc.1-2-gabc1234 v1.2.3 v1.2.3-14-gd6b0e75 v1.2.3-14-gd6b0e75-dirty v1.2.4; do
	version=$(packaging/version.sh $name 1700000000) || wrong "no version for $name"
	if [ -n "$previous" ]; then
		dpkg --compare-versions "$previous" lt "$version" || wrong "dpkg: $previous is not before $version"
		[ "$(rpm --eval "%{lua:print(rpm.vercmp('$previous', '$version'))}")" = -1 ] || wrong "rpm: $previous is not before $version"
	fi
	previous=$version
done
if packaging/version.sh 'v1;2' 1700000000 2>/dev/null; then wrong "a version of any letters passed"; fi

[ $failed = 0 ] && echo "check.sh: packages are as they should be"
exit $failed
