# shellcheck shell=bash disable=SC2154
# The part of prepare that unpacks a kernel of Debian's.

# What the tests need, or can use. Those that a kernel lacks, or has built in,
# are left out.
modules=(af_packet ipv6 inet_diag tcp_diag udp_diag raw_diag unix_diag netlink_diag tun veth dummy sch_netem)

# An apt of its own, as the machine's is for one release and architecture.
apt=$work/apt
mkdir -p "$apt"/{etc/{apt.conf.d,preferences.d},state/lists/partial,cache/archives/partial} "$work"/{deb,root}
touch "$apt/status"
key='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
# The machine's own mirrors have the other releases, too.
mirror() {
	# shellcheck disable=SC2016 # apt-get expands it
	apt-get indextargets --format '$(REPO_URI)' | awk -v end="/$1/*\$" '!uri && $0 ~ end { uri = $0 } END { print uri }'
}
debian=$(mirror debian) security=$(mirror debian-security)
[[ $debian && $security ]] || { echo "apt has no source of Debian's and of its security updates" >&2 && exit 1; }
echo "$name: from $debian and $security" >&2
release=${suite%-backports}
{
	echo "deb $key $debian $release main"
	echo "deb $key $security $release-security main"
	if [[ $suite != "$release" ]]; then echo "deb $key $debian $suite main"; fi
} >"$apt/etc/sources.list"
cat >"$apt/apt.conf" <<EOF
Dir::Etc "$apt/etc";
Dir::State "$apt/state";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
APT::Architecture "${arch/386/amd64}";
APT::Architectures { "${arch/386/amd64}"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
EOF
if [[ $suite != "$release" ]]; then echo "APT::Default-Release \"$suite\";" >>"$apt/apt.conf"; fi
export APT_CONFIG=$apt/apt.conf
apt-get update -qq

# depends PACKAGE: its dependencies that hold a kernel.
depends() {
	apt-cache depends --no-recommends --no-suggests --no-breaks --no-conflicts --no-replaces "$1" |
		sed -nE 's/^ *\|?(Pre)?Depends: (linux-(image|base|binary|modules)-[0-9].*)/\2/p'
}

# A metapackage (that is not fetched: the archive may have it no more) names
# the newest linux-image package, which since 7.x has its files in linux-base,
# linux-binary and linux-modules packages.
packages=()
for p in $(depends "$package"); do
	mapfile -t more < <(depends "$p")
	packages+=("$p" "${more[@]}")
done
if ((${#packages[@]} == 0)); then packages=("$package"); fi
(cd "$work/deb" && apt-get download -qq "${packages[@]}" busybox-static)
unset APT_CONFIG
for deb in "$work"/deb/*.deb; do dpkg-deb -x "$deb" "$work/root"; done

# kmod looks in /lib/modules.
root=$work/root
mkdir -p "$root/lib"
for m in "$root"/usr/lib/modules "$root"/usr/lib/uml/modules; do
	if [[ -d $m ]]; then mv "$m" "$root/lib/modules"; fi
done
version=$(ls "$root/lib/modules")
depmod -b "$root" "$version"

# The initramfs: without the directories that the init makes.
ram=$work/ram
mkdir -p "$ram/.run/modules"
cp "$(find "$root" -type f -path '*/bin/busybox' -print -quit)" "$ram/.run/busybox"
GOOS=linux GOARCH=$arch CGO_ENABLED=0 GOFLAGS='' GOWORK=off \
	go build -C "$here/init" -trimpath -buildvcs=false -ldflags='-s -w' -o "$ram/init" .
n=100
for m in "${modules[@]}"; do
	while read -r verb file _; do
		if [[ $verb != insmod ]]; then continue; fi # or built in
		base=${file##*/} && base=${base%.ko*}
		if compgen -G "$ram/.run/modules/*-$base.ko" >/dev/null; then continue; fi
		to=$ram/.run/modules/$((n++))-$base.ko
		case $file in
		*.xz) xz -dc "$file" >"$to" ;;
		*) cp "$file" "$to" ;;
		esac
	done < <(modprobe -d "$root" -S "$version" --show-depends "$m" 2>/dev/null)
done
(cd "$ram" && find . -mindepth 1 | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet) >"$work/out/base.cpio"

if [[ $kind = uml ]]; then
	cp "$root/usr/bin/linux.uml" "$work/out/kernel"
else
	cp "$(find "$root" -name 'vmlinuz*' -type f -print -quit)" "$work/out/kernel"
fi
deb=$(find "$work/deb" -size +1M -name '*.deb' ! -name 'busybox*' ! -name 'linux-base*' -print | head -n 1)
echo "$version ($(dpkg-deb -f "$deb" Version), $suite)" >"$work/out/version"
