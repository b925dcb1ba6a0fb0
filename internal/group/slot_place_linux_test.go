package group

import (
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// reordered opens members of a group, one of which is not in its slot by age, and
// returns them by slot.
func reordered(t *testing.T, n int, network, address string, prepare ...func(fd int) error) []*member {
	t.Helper()
	members := group(t, n+1, network, address, prepare...)
	members[1].close()
	members[1] = members[n]
	return members[:n]
}

// known fails the test unless the slots are those of members.
func known(t *testing.T, members []*member) {
	t.Helper()
	diag := diagConn(t)
	for _, m := range members[:min(len(members), 2)] {
		slots, err := m.slots(t, diag)
		if want := cookies(members); err != nil || !slices.Equal(slots, want) {
			t.Errorf("%v: %v, %v, want %v", m.Key, slots, err, want)
		}
	}
}

// A group of sockets that are bound to a device. Beside another group, at the same
// address, the kernel may find only one of the two: then the other has no answer.
func TestSlotsDevice(t *testing.T) {
	for _, place := range places {
		testnet.Namespace(t)
		diag := diagConn(t)
		onLo := reordered(t, 4, place.network, place.address, onDevice(lo))
		known(t, onLo)
		right(t, onLo[0], onLo, cookies(onLo))
		anywhere := group(t, 2, place.network, place.address)
		found := 0
		for _, members := range [][]*member{onLo, anywhere} {
			slots, err := members[0].slots(t, diag)
			if err == nil && !slices.Equal(slots, cookies(members)) || err != nil && !errors.Is(err, ErrUnknown) {
				t.Errorf("%v: beside another group: %v, %v, want %v", place, slots, err, cookies(members))
			}
			if err == nil {
				found++
			}
		}
		if found == 0 {
			t.Errorf("%v: neither group is found", place)
		}
		closeAll(onLo)
		closeAll(anywhere)
	}
}

// A group at an address of a link, which is one with its device.
func TestSlotsLinkLocal(t *testing.T) {
	testnet.NeedRoot(t)
	testnet.Namespace(t)
	diagConn(t) // or no slots are known
	address(t, netip.MustParseAddr("fe80::1234:5678"), lo)
	for _, network := range []string{"tcp6", "udp6"} {
		members := reordered(t, 4, network, "[fe80::1234:5678%lo]:9999")
		known(t, members)
		right(t, members[0], members, cookies(members))
		closeAll(members)
	}
}

// address gives a device an address of IPv6.
func address(t *testing.T, addr netip.Addr, device int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	request := struct { // struct in6_ifreq
		addr   [16]byte
		prefix uint32
		device int32
	}{addr.As16(), 64, int32(device)}
	if err := ioctl(fd, unix.SIOCSIFADDR, &request); err != nil {
		t.Fatal(os.NewSyscallError("ioctl SIOCSIFADDR", err))
	}
	// The kernel looks for others that have it, on lo as well, though in no time.
	for deadline := time.Now().Add(testnet.Slow(10 * time.Second)); time.Now().Before(deadline); runtime.Gosched() {
		table, err := os.ReadFile("/proc/thread-self/net/if_inet6")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(table)) { // address, device, prefix, scope, flags, name
			fields := strings.Fields(line)
			flags, _ := strconv.ParseUint(fields[4], 16, 32)
			if bytes := addr.As16(); fields[0] == hex.EncodeToString(bytes[:]) && flags&unix.IFA_F_TENTATIVE == 0 {
				return
			}
		}
	}
	t.Fatalf("%v is not there", addr)
}

// A group of sockets of IPv6 at an address of IPv4, as other languages' libraries
// open them.
func TestSlotsMapped(t *testing.T) {
	testnet.Namespace(t)
	diagConn(t) // or no slots are known
	for network, kind := range map[string]int{"tcp": unix.SOCK_STREAM, "udp": unix.SOCK_DGRAM} {
		var members []*member
		for range 5 {
			fd, err := testnet.Bind(kind, netip.MustParseAddrPort("[::ffff:127.0.0.1]:9999"), false, testnet.ReusePort)
			if err != nil {
				t.Fatal(err)
			}
			if kind == unix.SOCK_STREAM {
				if err := unix.Listen(fd, 9); err != nil {
					t.Fatal(err)
				}
			}
			members = append(members, fromFile(t, fd))
		}
		members[0].close()
		members = []*member{members[4], members[1], members[2], members[3]}
		known(t, members)
		right(t, members[0], members, cookies(members))
		if network == "tcp" && members[0].Key.family != unix.AF_INET6 {
			t.Errorf("%v is of IPv4", members[0].Key)
		}
		closeAll(members)
	}
}

// fromFile returns a member for a descriptor.
func fromFile(t *testing.T, fd int) *member {
	t.Helper()
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	m := &member{}
	var conn interface {
		SyscallConn() (syscall.RawConn, error)
	}
	ln, err := net.FileListener(f)
	if err == nil {
		m.Listener, conn = ln, ln.(*net.TCPListener)
	} else {
		pc, failed := net.FilePacketConn(f)
		if failed != nil {
			t.Fatal(err, failed)
		}
		m.PacketConn, conn = pc, pc.(*net.UDPConn)
	}
	t.Cleanup(m.close)
	c, err := conn.SyscallConn()
	if err == nil {
		m.Socket, err = Open(c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A group of another user's sockets, which root may be asked to drain.
func TestSlotsOwner(t *testing.T) {
	testnet.NeedRoot(t)
	const nobody = 65534
	for _, place := range places {
		testnet.Namespace(t)
		var members []*member
		testnet.As(t, nobody, func() { members = reordered(t, 4, place.network, place.address) })
		known(t, members)
		right(t, members[0], members, cookies(members))
		// The control: others are not of the group.
		if members[0].Key.uid != nobody {
			t.Errorf("%v: of user %d", members[0].Key, members[0].Key.uid)
		}
		before := testnet.Descriptors(t)
		restore, err := without(unix.CAP_CHOWN)
		if err != nil {
			t.Fatal(err)
		}
		_, err = members[0].slots(t, diagConn(t))
		if failed := restore(); failed != nil {
			t.Fatal(failed)
		}
		if !errors.Is(err, ErrUnknown) || !errors.Is(err, unix.EPERM) {
			t.Errorf("%v: without CAP_CHOWN: %v", place, err)
		}
		if after := testnet.Descriptors(t); after != before+1 { // of diagConn
			t.Errorf("%d descriptors before, %d after", before, after)
		}
		closeAll(members)
	}
}

// A group of as many members as a large machine has CPUs, and more.
func TestSlotsMany(t *testing.T) {
	for i, place := range places {
		if !testnet.Long && i%3 > 0 {
			continue
		}
		if place.network == "tcp6" && !twins(t, place.network, place.address) {
			continue // not more than 64, see slotsByOneMore
		}
		testnet.Namespace(t)
		n := max(300/testnet.Slowness(), 80)
		members := reordered(t, n, place.network, place.address)
		known(t, members)
		for _, slot := range []int{0, 1, n / 2, n - 1} {
			chosen(t, members[slot], members, Among([]int{slot}))
		}
		closeAll(members)
	}
}

// twins reports whether the slots at an address can be learnt by twins.
func twins(t *testing.T, network, address string) bool {
	testnet.Namespace(t)
	members := group(t, 3, network, address)
	defer closeAll(members)
	w := members[0].ways()[0]
	diag := diagConn(t)
	_, err := w.slots(t.Context(), diag, members[0].members(t, diag))
	return err == nil
}
