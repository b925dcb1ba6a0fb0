# shellcheck shell=bash disable=SC2154
# The part of run that boots a kernel.

start() {
	local nonce ram=$tmp/ram append words qemu command ended=0
	nonce=$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')
	stage "$ram"
	echo "$nonce" >"$ram/.run/nonce"
	printf '%s\0' "/test/${binary##*/}" "$@" >"$ram/.run/args"
	{
		env -0 | grep -z '^TESTNET_' || :
		if [[ $kind = vm ]]; then printf 'TESTNET_SLOW=10\0'; fi
	} >"$ram/.run/env"
	# The kernel unpacks both archives.
	cp "$cache/base.cpio" "$tmp/initrd"
	(cd "$ram" && find . -mindepth 1 -print0 | cpio -o -0 -H newc -R 0:0 --quiet) >>"$tmp/initrd"
	rm -rf "$ram"

	local memory=${RUN_MEMORY:-1024}
	if [[ $kind = uml ]]; then memory=${RUN_MEMORY:-2048}; fi
	append="panic=-1 rdinit=/init mitigations=off audit=0"
	if [[ ${RUN_VERBOSE:-} ]]; then append+=" ignore_loglevel run.verbose"; else append+=" quiet loglevel=1"; fi
	# A machine without devices but a serial console. Kernels patch their code:
	# if each processor had a thread, qemu could run the half of that, and the
	# kernel panics ("Oops: int3"). It is not faster, either.
	qemu=(-accel "tcg,thread=single" -nodefaults -no-user-config -display none -no-reboot
		-m "$memory" -smp "${RUN_SMP:-2}" -kernel "$cache/kernel" -initrd "$tmp/initrd"
		-chardev "stdio,id=console,signal=off")
	case $kind-$arch in
	uml-*)
		read -ra words <<<"$append mem=${memory}M initrd=$tmp/initrd con=null con0=null,fd:1 uml_dir=$tmp umid=vm"
		command=("$cache/kernel" "${words[@]}")
		;;
	vm-s390x)
		command=(qemu-system-s390x -M s390-ccw-virtio -cpu max "${qemu[@]}" -device "sclpconsole,chardev=console"
			-append "console=ttyS1 $append")
		;;
	vm-arm64)
		command=(qemu-system-aarch64 -M virt -cpu neoverse-n1 "${qemu[@]}" -serial chardev:console
			-append "console=ttyAMA0 $append")
		;;
	vm-amd64 | vm-386)
		command=(qemu-system-x86_64 -M pc -cpu max "${qemu[@]}" -serial chardev:console
			-append "console=ttyS0 $append")
		;;
	esac

	# timeout ends the machine, also when this script is killed. The filter
	# prints what is between the markers at once, and keeps the exit code.
	mkfifo "$tmp/console"
	setpriv --pdeathsig TERM timeout -k 5 "$limit" nice "${command[@]}" \
		</dev/null >"$tmp/console" 2>"$tmp/errors" &
	pid=$!
	tee "$tmp/log" <"$tmp/console" | {
		if [[ ${RUN_VERBOSE:-} ]]; then tee /dev/stderr; else cat; fi
	} | sed -unE "/^@@RUN $nonce BEGIN@@\r?\$/,/^@@RUN $nonce END [0-9]+@@\r?\$/{
		/^@@RUN $nonce BEGIN/d
		/^@@RUN $nonce END/{
			s/.* ([0-9]+)@@.*/\1/
			w $tmp/code
			d
		}
		p
	}" &
	local filter=$!
	wait "$pid" || ended=$?
	pid=''
	wait "$filter" || :

	if [[ -s $tmp/code ]]; then exit "$(cat "$tmp/code")"; fi
	cat "$tmp/errors" >&2
	if ((ended == 124 || ended == 137)); then
		echo "run: $name: no end within $limit seconds; the console's last lines:" >&2
		tail -n 5 "$tmp/log" >&2
		exit 124
	fi
	echo "run: $name: the machine ended with status $ended; its console:" >&2
	tail -n 40 "$tmp/log" >&2
	exit 125
}
