package group

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// A member with SO_INCOMING_CPU answers for others, on its CPU. Then there is no
// answer, and never a wrong one.
func TestSlotsIncomingCPU(t *testing.T) {
	for _, place := range places {
		t.Run(place.network+" "+place.address, func(t *testing.T) {
			testnet.Namespace(t)
			diag := diagConn(t)
			members := reordered(t, 4, place.network, place.address)
			want := cookies(members)
			known(t, members) // the control
			err := control(members[1], func(fd int) error {
				return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_INCOMING_CPU, 0)
			})
			if err != nil {
				t.Fatal(err)
			}
			for cpu := range runtime.NumCPU() {
				pin(t, cpu)
				silent := 0
				for range 5 {
					slots, err := members[0].slots(t, diag)
					if err == nil && !slices.Equal(slots, want) || err != nil && !errors.Is(err, ErrUnknown) {
						t.Fatalf("on CPU %d: %v, %v, want %v", cpu, slots, err, want)
					}
					if err != nil {
						silent++
					}
				}
				if cpu > 0 && silent > 0 {
					t.Errorf("on CPU %d, that nobody named: %d times no answer", cpu, silent)
				}
			}
		})
	}
}

// pin binds the calling thread, which belongs to the goroutine, to a CPU.
func pin(t *testing.T, cpu int) {
	t.Helper()
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
}

// Some of the UDP sockets at an address are connected, and may still be in the
// group. The slots of the others are right, or unknown.
func TestSlotsConnected(t *testing.T) {
	for _, test := range []struct {
		network, address string
		peer             unix.Sockaddr
	}{
		{"udp4", "127.0.0.1:9999", &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 9}},
		{"udp4", "0.0.0.0:9999", &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 9}},
		{"udp6", "[::1]:9999", &unix.SockaddrInet6{Addr: [16]byte{15: 1}, Port: 9}},
		{"udp6", "[::]:9999", &unix.SockaddrInet6{Addr: [16]byte{15: 1}, Port: 9}},
		{"udp", ":9999", &unix.SockaddrInet6{Addr: [16]byte{15: 1}, Port: 9}},
		{"udp", ":9999", &unix.SockaddrInet6{Addr: [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1}, Port: 9}},
	} {
		t.Run(test.network+" "+test.address, func(t *testing.T) {
			testnet.Namespace(t)
			diag := diagConn(t)
			known, holes, unknown := 0, 0, 0
			for range rounds(300) {
				members := group(t, 4+rand.IntN(3), test.network, test.address)
				var connected []*member
				for range 1 + rand.IntN(3) {
					switch i := rand.IntN(len(members)); rand.IntN(4) {
					default:
						m := members[i]
						if err := control(m, func(fd int) error { return unix.Connect(fd, test.peer) }); err != nil {
							t.Fatal(err)
						}
						connected, members = append(connected, m), slices.Delete(members, i, i+1)
					case 0:
						members = append(members, open(t, test.network, test.address))
					case 1:
						members[i].close()
						members = slices.Delete(members, i, i+1)
					}
				}
				m := members[rand.IntN(len(members))]
				slots, err := m.slots(t, diag)
				switch {
				case err == nil:
					known++
					if len(slots) > len(members) {
						holes++
					}
					right(t, m, members, slots)
				case errors.Is(err, ErrUnknown):
					unknown++
				default:
					t.Fatal(err)
				}
				closeAll(members)
				closeAll(connected)
			}
			t.Logf("%d known, %d of them with connected sockets, %d unknown", known, holes, unknown)
			if known == 0 {
				t.Error("never known")
			}
		})
	}
}

// A UDP socket of IPv4 that is connected can leave its group, and found another one
// with the socket that is bound next: two groups, where sock_diag shows one.
func TestSlotsTwoGroups(t *testing.T) {
	testnet.Namespace(t)
	diag := diagConn(t)
	const network, address = "udp4", "127.0.0.1:9999"
	for first := range 4 {
		for second := 1; second <= 3; second++ {
			connected := open(t, network, address)
			members := group(t, first, network, address)
			peer := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 9}
			if err := control(connected, func(fd int) error { return unix.Connect(fd, peer) }); err != nil {
				t.Fatal(err)
			}
			members = append(members, group(t, second, network, address)...)
			for _, m := range members {
				slots, err := m.slots(t, diag)
				if err == nil {
					right(t, m, members, slots)
				} else if !errors.Is(err, ErrUnknown) {
					t.Error(err)
				}
			}
			closeAll(members)
			connected.close()
		}
	}
}

// Members come and go while the slots are learnt: they are as they were at a moment
// meanwhile, or unknown.
func TestSlotsChange(t *testing.T) {
	testnet.NeedRoot(t)
	total, learns := 0, false
	for _, place := range places {
		t.Run(place.network+" "+place.address, func(t *testing.T) {
			testnet.Namespace(t)
			diag := diagConn(t)
			learns = true
			ns, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(ns)
			stays := open(t, place.network, place.address)
			way := stays.ways()[0] // without one more, that would be in the array for a moment

			// The arrays that there were. A change is noted after it is made.
			var mu sync.Mutex
			history, noted, ended := [][]uint64{{stays.Cookie}}, sync.NewCond(&mu), false
			var failed error
			var changes sync.WaitGroup
			stop := make(chan struct{})
			defer changes.Wait()
			defer close(stop)
			changes.Go(func() {
				runtime.LockOSThread() // and never unlocked
				err := change(ns, place.network, place.address, stop, stays.Cookie, func(array []uint64) {
					mu.Lock()
					history = append(history, array)
					mu.Unlock()
					noted.Broadcast()
				})
				mu.Lock()
				ended, failed = true, err
				mu.Unlock()
				noted.Broadcast()
			})
			last := func() int {
				mu.Lock()
				defer mu.Unlock()
				return len(history) - 1
			}
			known, unknown := 0, 0
			for range rounds(300) {
				from := last()
				members := stays.members(t, diag)
				slots, err := way.slots(t.Context(), diag, members)
				to := last()
				if err != nil {
					if unknown++; !errors.Is(err, errInconsistent) {
						t.Fatal(err)
					}
					continue
				}
				known++
				mu.Lock()
				for len(history) < to+2 && !ended {
					noted.Wait()
				}
				were := history[from:min(to+2, len(history))]
				mu.Unlock()
				if !slices.ContainsFunc(were, func(array []uint64) bool { return slices.Equal(array, slots) }) {
					t.Fatalf("%v was never so, among %v", slots, were)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if ended {
				t.Fatal(failed)
			}
			total += known
			t.Logf("%d known, %d unknown, %d changes", known, unknown, len(history)-1)
		})
	}
	if total == 0 && learns {
		t.Error("never known")
	}
}

// change lets members join and leave, and calls note with the array after each
// change.
func change(ns int, network, address string, stop <-chan struct{}, first uint64, note func([]uint64)) error {
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return err
	}
	array := []uint64{first}
	var members []*member // as array, without the first
	defer func() { closeAll(members) }()
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		if n := len(members); n < 2 || n < 5 && rand.IntN(2) == 0 {
			m, err := openMember(network, address)
			if err != nil {
				return err
			}
			members = append(members, m)
			array = append(slices.Clone(array), m.Cookie)
		} else {
			i := rand.IntN(n)
			members[i].close()
			members[i] = members[n-1]
			members = members[:n-1]
			array = slices.Clone(array)
			array[1+i] = array[n]
			array = array[:n]
		}
		note(array)
		// Some learn in the time between two changes.
		for range rand.IntN(3000) {
			unix.Getppid()
		}
	}
}

// What keeps the slots from being learnt is in the error, and no descriptor is left.
func TestSlotsFail(t *testing.T) {
	testnet.NeedRoot(t)
	for _, place := range places {
		_, port, _ := net.SplitHostPort(place.address)
		address := place.address[:len(place.address)-len(port)] + "80"
		testnet.Namespace(t)
		diag := diagConn(t)
		members := group(t, 8, place.network, address)
		known(t, members)
		fails := func(what string, want error, names string) {
			t.Helper()
			before := testnet.Descriptors(t)
			_, err := members[0].slots(t, diag)
			if !errors.Is(err, want) || !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), names) {
				t.Errorf("%v, %s: %v, want %v", members[0].Key, what, err, want)
			}
			if after := testnet.Descriptors(t); after != before {
				t.Errorf("%v, %s: %d descriptors before, %d after", members[0].Key, what, before, after)
			}
		}
		restore, err := without(unix.CAP_NET_BIND_SERVICE)
		if err != nil {
			t.Fatal(err)
		}
		fails("an ordinary user", unix.EACCES, "bind")
		if err := restore(); err != nil {
			t.Fatal(err)
		}
		for _, free := range []int{0, 1, 5} {
			before := testnet.Descriptors(t)
			restore := limit(t, free)
			_, err := members[0].slots(t, diag)
			restore()
			if !errors.Is(err, unix.EMFILE) || !errors.Is(err, ErrUnknown) {
				t.Errorf("%v, %d descriptors: %v, want EMFILE", members[0].Key, free, err)
			}
			if after := testnet.Descriptors(t); after != before {
				t.Errorf("%v, %d descriptors free: %d before, %d after", members[0].Key, free, before, after)
			}
		}
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		before := testnet.Descriptors(t)
		if _, err := members[0].Slots(ctx, diag, members[0].members(t, diag)); !errors.Is(err, cause) {
			t.Errorf("%v: %v, want %v", place, err, cause)
		}
		if after := testnet.Descriptors(t); after != before {
			t.Errorf("%v, canceled: %d descriptors before, %d after", place, before, after)
		}
		known(t, members) // nothing is left of all that
		closeAll(members)
	}
}

// limit leaves this process so many descriptors that it can open, until restore is
// called.
func limit(t *testing.T, free int) (restore func()) {
	t.Helper()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	end := 0
	for ; ; end++ {
		if _, err := unix.FcntlInt(uintptr(end), unix.F_GETFD, 0); err == nil {
			continue
		}
		if free--; free < 0 {
			break
		}
	}
	set := func(r unix.Rlimit) {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
			t.Fatal(err)
		}
	}
	set(unix.Rlimit{Cur: uint64(end), Max: was.Max})
	return func() { set(was) }
}
