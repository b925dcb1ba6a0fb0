package handover_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"

	"example.com/reuse/handover"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// adopted is a server that knows nothing of this package, and of package net: its
// socket blocks. Its argument is "tcp" or "udp". It obeys "close", and answers before
// what it has accepted or read.
func adopted(args []string) error {
	kind := unix.SOCK_STREAM
	if args[0] == "udp" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = testnet.ReusePort.Set(fd)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: 9999, Addr: [4]byte{127, 0, 0, 1}})
	}
	if err == nil && args[0] == "tcp" {
		err = unix.Listen(fd, 4096)
	}
	if err != nil {
		return err
	}
	var answering sync.WaitGroup
	var reading sync.Mutex
	go func() {
		for args[0] == "tcp" {
			conn, _, err := unix.Accept(fd)
			if err != nil {
				fmt.Println("accept", err)
				return
			}
			answering.Go(func() {
				unix.SetNonblock(conn, true) // no thread of its own for each
				f := os.NewFile(uintptr(conn), "connection")
				defer f.Close()
				if n, _ := f.Read(make([]byte, 1)); n == 0 {
					return
				}
				fmt.Fprintln(f, os.Getpid())
				for buf := make([]byte, 16); ; {
					if _, err := f.Read(buf); err != nil {
						return
					}
				}
			})
		}
		for buf := make([]byte, 16); ; {
			unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			reading.Lock()
			n, from, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
			if err == nil {
				unix.Sendto(fd, buf[:n], 0, from)
			}
			reading.Unlock()
		}
	}()
	fmt.Println("listening", fd)
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	answering.Wait()
	reading.Lock()
	return nil
}

// A descriptor is a copy of another process's.
type descriptor struct {
	*os.File
	syscall.RawConn
}

// startAdopted starts a server, and adopts its socket.
func startAdopted(t testing.TB, network string) (process, *handover.Member, descriptor) {
	t.Helper()
	needDrain(t)
	p := process{testnet.Start(t, os.Getuid(), "adopted", network)}
	var fd int
	if _, err := fmt.Sscanf(p.expect(t, "listening"), "listening %d", &fd); err != nil {
		t.Fatal(err)
	}
	pidfd, err := unix.PidfdOpen(p.pid(), 0)
	if err != nil {
		t.Skipf("needs pidfd_open: %v", err)
	}
	defer unix.Close(pidfd)
	own, err := unix.PidfdGetfd(pidfd, fd, 0)
	if err != nil {
		t.Skipf("needs pidfd_getfd: %v", err)
	}
	d := descriptor{File: os.NewFile(uintptr(own), "copy")}
	t.Cleanup(func() { d.Close() })
	if d.RawConn, err = d.SyscallConn(); err != nil {
		t.Fatal(err)
	}
	m, err := handover.Adopt(d.RawConn)
	if err != nil {
		t.Fatal(err)
	}
	return p, m, d
}

// state is what Adopt, Drain and Resume may not change for long.
func (d descriptor) state(t testing.TB) (state []int) {
	t.Helper()
	err := setsockopt(d.RawConn, func(fd int) error {
		for _, command := range []int{unix.F_GETFL, unix.F_GETOWN, unix.F_GETSIG} {
			value, err := unix.FcntlInt(uintptr(fd), command, 0)
			if err != nil {
				return err
			}
			state = append(state, value)
		}
		for _, o := range [][2]int{
			{unix.SOL_SOCKET, unix.SO_REUSEADDR}, {unix.SOL_SOCKET, unix.SO_REUSEPORT}, {unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX},
			{unix.SOL_SOCKET, unix.SO_ACCEPTCONN}, {unix.SOL_SOCKET, unix.SO_KEEPALIVE}, {unix.IPPROTO_IP, unix.IP_RECVERR_RFC4884},
		} {
			value, err := unix.GetsockoptInt(fd, o[0], o[1])
			if err != nil {
				return err
			}
			state = append(state, value)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// A server that knows nothing of this package is replaced under load, by a copy of its
// descriptor, and nothing is lost. Nothing of the socket is changed until it is closed.
func TestAdopt(t *testing.T) {
	testnet.Parallel(t)
	for _, network := range []string{"tcp", "udp"} {
		t.Run(network, func(t *testing.T) {
			testnet.Namespace(t)
			needDrain(t)
			serve, load := "serve", "load"
			if network == "udp" {
				serve, load = "serve udp", "load udp"
			}
			lossless(t, func(drain bool) (lost int) {
				old, m, own := startAdopted(t, network)
				before := own.state(t)
				if before[0]&unix.O_NONBLOCK != 0 {
					t.Error("control: the socket does not block")
				}
				clients := start(t, os.Getuid(), load, "-n", "16")
				next := start(t, os.Getuid(), serve)
				if drain {
					for range 2 {
						if err := m.Drain(t.Context()); err != nil {
							t.Error(err)
						}
						if err := m.Resume(t.Context()); err != nil {
							t.Error(err)
						}
						if after := own.state(t); !slices.Equal(after, before) {
							t.Errorf("after Resume %d, before %d", after, before)
						}
					}
					if err := m.Drain(t.Context()); err != nil {
						t.Error(err)
					}
				} else {
					own.Close()
				}
				old.end(t)
				if drain {
					if err := m.Close(); err != nil {
						t.Error(err)
					}
				}
				_, lost, _ = clients.finish(t, drain, next)
				return lost
			})
		})
	}
}

// After an aborted Drain the old server goes on: Resume gives it its share, and the
// newcomer can go without a loss. Without Resume that has to wait: the control.
func TestResume(t *testing.T) {
	testnet.Parallel(t)
	testnet.Namespace(t)
	old, m, _ := startAdopted(t, "tcp")
	clients := start(t, os.Getuid(), "load", "-n", "8")
	for range testnet.Rounds(5, 2) {
		next := start(t, os.Getuid(), "serve")
		if err := m.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := sharesOf(t, addr, 50); got[next.pid()] != 50 {
			t.Errorf("drained, %v answer", got)
		}
		next.tell(t, "drain briefly")
		next.expect(t, "ended")
		if err := m.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := shares(t, addr); got[old.pid()] < 40 || got[next.pid()] < 40 {
			t.Errorf("of 200 %v", got)
		}
		next.tell(t, "drain")
		next.expect(t, "drained")
		next.end(t)
	}
	ok, lost, slow := clients.counts(t)
	t.Logf("%d connections, %d lost, %d slow", ok, lost, slow)
	if lost > 0 {
		t.Errorf("%d lost", lost)
	}
	if err := m.Resume(t.Context()); err != nil {
		t.Error("of what serves:", err)
	}
	if pid := ask(t, addr); pid != old.pid() {
		t.Errorf("%d answers", pid)
	}
}

// Close takes a drained socket out of its group, although its process has it still.
func TestAdoptedClose(t *testing.T) {
	testnet.Parallel(t)
	testnet.Namespace(t)
	old, m, own := startAdopted(t, "tcp")
	if err := m.Close(); err != nil { // of what serves: nothing
		t.Error(err)
	}
	if pid := ask(t, addr); pid != old.pid() {
		t.Errorf("%d answers", pid)
	}
	m, err := handover.Adopt(own.RawConn)
	if err != nil {
		t.Fatal(err)
	}
	next := start(t, os.Getuid(), "serve")
	if err := m.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	old.expect(t, "accept invalid argument") // it finds that it does not listen
	third := start(t, os.Getuid(), "serve")
	if got := shares(t, addr); got[next.pid()] < 40 || got[third.pid()] < 40 || len(got) != 2 {
		t.Errorf("of 200 %v", got)
	}
	next.replaceBy(t, "Listen", third)
}

// Adopt says what cannot be drained.
func TestAdoptUnsupported(t *testing.T) {
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
		for _, family := range []int{unix.AF_INET, unix.AF_UNIX} {
			fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			f := os.NewFile(uintptr(fd), "socket")
			raw, err := f.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := handover.Adopt(raw); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("family %d, kind %d: %v", family, kind, err)
			}
			f.Close()
			if _, err := handover.Adopt(raw); err == nil || errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("closed: %v", err)
			}
		}
	}
}
