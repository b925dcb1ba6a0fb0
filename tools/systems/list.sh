# shellcheck shell=bash disable=SC2034
# The systems, for the scripts here to source.

systems=(5.10 6.1 6.12 newest 386 arm64 s390x uml gvisor
	native user-arm64 user-arm user-mips user-ppc64le user-riscv64 user-s390x)

# system NAME sets
#
#	kind    vm, uml, gvisor, native (this machine) or user (emulation of user mode)
#	arch    GOARCH
#	suite   of Debian, for a kernel
#	package that is, or depends on, the kernel
#	tools   packages that the host needs
system() {
	suite='' package='' tools=() kind=vm arch=amd64
	case $1 in
	5.10) suite=bullseye package=linux-image-cloud-amd64 ;;
	6.1) suite=bookworm package=linux-image-cloud-amd64 ;;
	6.12) suite=trixie package=linux-image-cloud-amd64 ;;
	newest) suite=trixie-backports package=linux-image-cloud-amd64 ;;
	386) suite=bookworm package=linux-image-cloud-amd64 arch=386 ;; # programs on an amd64 kernel
	arm64) suite=bookworm package=linux-image-cloud-arm64 arch=arm64 ;;
	s390x) suite=bookworm package=linux-image-s390x arch=s390x ;;
	uml) suite=bookworm package=user-mode-linux kind=uml ;;
	gvisor) kind=gvisor ;;
	native) kind=native arch=$(go env GOARCH) ;;
	user-*) kind=user arch=${1#user-} tools=(qemu-user-static) ;;
	*)
		echo "no system $1: ${systems[*]}" >&2
		exit 2
		;;
	esac
	case $kind-$arch in
	vm-amd64 | vm-386) tools=(cpio kmod xz-utils qemu-system-x86) ;;
	vm-arm64) tools=(cpio kmod xz-utils qemu-system-arm) ;;
	vm-s390x) tools=(cpio kmod xz-utils qemu-system-misc) ;;
	uml-*) tools=(cpio kmod xz-utils) ;;
	esac
}
