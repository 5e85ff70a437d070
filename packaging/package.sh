#!/bin/sh
# Makes what is released: for each architecture a deb, an rpm, a tarball, the
# bare static binary and its SBOM (CycloneDX), and the SHA256SUMS of them all.
# The same commit gives the same bytes in every directory (reproducible.sh).
#
#   package.sh OUTDIR [--version V] [--arch amd64|arm64|all] [--only KIND]...
#
#   --version V  in place of what git describe says, such as v1.2.3
#   --arch A     default: all
#   --only KIND  deb, rpm, tar, binary or sbom; may be repeated; default: all
#
# From the environment: MAINTAINER, the "Name <address>" in the packages;
# SOURCE_DATE_EPOCH, in place of the commit's time; NFPM, in place of ours.
set -eu
umask 022
export LC_ALL=C TZ=UTC
unset CDPATH GOOS GOARCH

usage() {
	sed -n '/^#   package.sh/,/^# SOURCE/s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

outdir= name= archs='amd64 arm64' kinds=
while [ $# -gt 0 ]; do
	case $1 in
	--version) name=${2:?--version needs a version}; shift ;;
	--arch)
		case ${2:-} in
		amd64 | arm64) archs=$2 ;;
		all) ;;
		*) usage ;;
		esac
		shift
		;;
	--only)
		case ${2:-} in
		deb | rpm | tar | binary | sbom) kinds="$kinds $2" ;;
		*) usage ;;
		esac
		shift
		;;
	-*) usage ;;
	*) [ -z "$outdir" ] || usage; outdir=$1 ;;
	esac
	shift
done
[ -n "$outdir" ] || usage
mkdir -p "$outdir"
outdir=$(cd "$outdir" && pwd)
wanted() { case " ${kinds:-$1} " in *" $1 "*) ;; *) return 1 ;; esac; }

cd "$(dirname "$0")/.."
root=$PWD

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
VERSION=${name:-$(git describe --tags --always --dirty)} # what "deploykeyd version" says
PACKAGE_VERSION=$(packaging/version.sh "$VERSION" "$SOURCE_DATE_EPOCH")
# The project has no address yet; who distributes packages puts in his own.
PACKAGE_MAINTAINER=${MAINTAINER:-deploykeyd maintainers <maintainers@deploykeyd.invalid>}
export SOURCE_DATE_EPOCH VERSION PACKAGE_VERSION PACKAGE_MAINTAINER

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
if wanted deb || wanted rpm; then nfpm=${NFPM:-$(packaging/nfpm.sh)}; fi

# pack writes a gzip file without name and time.
pack() { gzip -9n <"$1" >"$2"; }

# modules lists each module's path and the folder where its licence is.
modules() {
	GOARCH=$1 GOOS=linux go list -deps -f '{{with .Module}}{{.Path}} {{.Dir}}{{end}}' ./cmd/deploykeyd | sort -u
	echo "std $(go env GOROOT)"
}

# common puts together what is the same for all architectures.
common() {
	mkdir -p "$1/systemd" "$1/man" "$1/completion" "$1/doc" "$1/examples" "$1/scripts"
	cp systemd/deploykeyd.service systemd/deploykeyd-preemption.service systemd/deploykeyd.sysusers systemd/deploykeyd.tmpfiles \
		packaging/nftables/deploykeyd-metadata.service packaging/nftables/deploykeyd-metadata.nft packaging/nfpm/deploykeyd.preset "$1/systemd/"
	cp packaging/scripts/postinst packaging/scripts/prerm packaging/scripts/postrm "$1/scripts/"

	go run ./cmd/docgen man -version "$VERSION" -date "$(date -u -d "@$SOURCE_DATE_EPOCH" +%F)" "$1/man"
	go run ./cmd/docgen completion "$1/completion"

	cp agent/config/example.yaml "$1/examples/deploykeyd.yaml"
	for folder in cloud-init teardown nftables; do
		mkdir "$1/examples/$folder"
		(cd "packaging/$folder" && find . -name '*_test.go' -prune -o -type f -print | tar -cf - -T -) | tar -xf - -C "$1/examples/$folder"
	done

	cp README.md LICENSE CHANGELOG.md packaging/nfpm/copyright "$1/doc/"
	cp packaging/lintian/overrides "$1/doc/lintian-overrides"
	cat >"$1/doc/changelog" <<-END
		deploykeyd ($PACKAGE_VERSION) unstable; urgency=medium

		  * What users notice is in CHANGELOG.md.gz beside this file.

		 -- $PACKAGE_MAINTAINER  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
	END
}

# settle gives everything below a folder the modes and the time it ships with.
settle() {
	find "$1" -type d -exec chmod 755 {} +
	find "$1" -type f ! -perm -u+x -exec chmod 644 {} +
	find "$1" -type f -perm -u+x -exec chmod 755 {} +
	find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

# distribution makes the deb and the rpm.
distribution() {
	stage=$work/packages-$1
	cp -a "$work/common" "$stage"
	mkdir "$stage/bin"
	cp "$work/deploykeyd-$1" "$stage/bin/deploykeyd"
	for page in "$stage"/man/*; do pack "$page" "$page.gz"; done
	for file in changelog CHANGELOG.md; do pack "$stage/doc/$file" "$stage/doc/$file.gz"; done
	pack "$work/third-party-notices-$1" "$stage/doc/third-party-notices.gz"
	settle "$stage"
	for format in deb rpm; do
		if wanted $format; then
			(cd "$stage" && PACKAGE_ARCH=$1 "$nfpm" package --config "$root/packaging/nfpm/nfpm.yaml" --packager $format --target "$2/" >/dev/null)
		fi
	done
}

# tarball is for every other system: the program, and what it can be set up with.
tarball() {
	top=deploykeyd-$PACKAGE_VERSION-linux-$1
	mkdir "$work/$top"
	cp -a "$work/common/man" "$work/common/completion" "$work/common/systemd" "$work/common/examples" "$work/$top/"
	cp "$work/common/doc/README.md" "$work/common/doc/LICENSE" "$work/common/doc/CHANGELOG.md" "$work/$top/"
	cp "$work/third-party-notices-$1" "$work/$top/third-party-notices.txt"
	cp "$work/deploykeyd-$1" "$work/$top/deploykeyd"
	settle "$work/$top"
	tar --sort=name --owner=0 --group=0 --numeric-owner --format=gnu -C "$work" -cf - "$top" | gzip -9n >"$2/$top.tar.gz"
}

mkdir "$work/common" "$work/out"
common "$work/common"
for arch in $archs; do
	binary=$work/deploykeyd-$arch
	GOOS=linux GOARCH=$arch packaging/build.sh "$binary" ./cmd/deploykeyd
	modules "$arch" >"$work/modules"
	(cd packaging/tools && GOFLAGS= go run ./sbom -version "$PACKAGE_VERSION" -time "$SOURCE_DATE_EPOCH" \
		-sbom "$work/sbom-$arch" -notices "$work/third-party-notices-$arch" "$binary" <"$work/modules")

	if wanted deb || wanted rpm; then distribution "$arch" "$work/out"; fi
	if wanted tar; then tarball "$arch" "$work/out"; fi
	if wanted binary; then cp "$binary" "$work/out/deploykeyd-$PACKAGE_VERSION-linux-$arch"; fi
	if wanted sbom; then cp "$work/sbom-$arch" "$work/out/deploykeyd-$PACKAGE_VERSION-linux-$arch.cdx.json"; fi
done

(cd "$work/out" && sha256sum -- * >../SHA256SUMS && mv ../SHA256SUMS .)
cp "$work/out"/* "$outdir/"
wc -c "$work/out"/* | sed "s|$work/out/||; \$d"
