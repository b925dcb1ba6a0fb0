# shellcheck shell=bash disable=SC2154
# The part of run for this kernel: as it is, or through qemu's emulation of user
# mode.

start() {
	local command=() ended=0
	if [[ $uid != 0 ]]; then
		# This directory, and those that go test makes, can be closed to others.
		stage "$tmp/root"
		binary=$tmp/root/test/${binary##*/}
		mkdir -m 1777 "$tmp/tmp"
		chmod 755 "$tmp"
		chown -R "$uid:$uid" "$tmp/root$PWD"
		cd "$tmp/root$PWD" || exit 125
		export TMPDIR=$tmp/tmp HOME=$tmp/tmp
		command=(setpriv --reuid "$uid" --regid "$uid" --clear-groups)
	fi
	if [[ $kind = user ]]; then
		export TESTNET_EMULATED=1 TESTNET_SLOW=10
		case $arch in
		arm64) command+=(qemu-aarch64-static) ;;
		mips | s390x)
			TESTNET_EMULATED=swapped
			command+=("qemu-$arch-static")
			;;
		*) command+=("qemu-$arch-static") ;;
		esac
	fi
	setpriv --pdeathsig TERM timeout -k 5 "$limit" "${command[@]}" "$binary" "$@" </dev/null &
	pid=$!
	wait "$pid" || ended=$?
	pid=''
	exit "$ended"
}
