package reuse_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

const nobody = 65534

// thief is a process that binds on top of somebody else's UDP socket. It prints
// the error, or "bound", and then how many datagrams it got.
func thief(args []string) error {
	address := args[0]
	o, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	config := net.ListenConfig{Control: testnet.Options(o).Control}
	pc, err := config.ListenPacket(context.Background(), "udp4", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		fmt.Println("EADDRINUSE")
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Println("bound")
	var sent int
	fmt.Scanln(&sent)
	n, err := pending(pc, sent)
	fmt.Println(n)
	return err
}

// pending returns how many datagrams wait in pc, when there are as many as
// expected. They may still be under way.
func pending(pc net.PacketConn, expected int) (n int, err error) {
	pc.SetReadDeadline(time.Now().Add(testnet.Slow(10 * time.Second)))
	for ; n < expected; n++ {
		if _, _, err := pc.ReadFrom(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			break
		} else if err != nil {
			return n, err
		}
	}
	c, err := pc.(syscall.Conn).SyscallConn()
	if err != nil {
		return n, err
	}
	var failed error
	err = c.Control(func(fd uintptr) {
		for failed == nil {
			if _, _, failed = unix.Recvfrom(int(fd), make([]byte, 1), 0); failed == nil {
				n++
			}
		}
	})
	if failed != unix.EAGAIN {
		err = errors.Join(err, failed)
	}
	return n, err
}

// send sends n datagrams from one socket.
func send(t testing.TB, to net.Addr, n int) {
	t.Helper()
	conn, err := net.Dial("udp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range n {
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
}

// goesByBind reports whether the kernel goes by the options that UDP sockets had at
// their bind, as gVisor does, and not by those they have.
func goesByBind(t testing.TB) bool {
	t.Helper()
	address := netip.MustParseAddrPort(net.JoinHostPort("127.0.0.1", ownPort()))
	first, err := testnet.Bind(unix.SOCK_DGRAM, address, false, testnet.ReuseAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(first)
	if err := testnet.NoOption.Set(first); err != nil {
		t.Fatal(err)
	}
	second, err := testnet.Bind(unix.SOCK_DGRAM, address, false, testnet.ReuseAddr)
	if err == nil {
		unix.Close(second)
	} else if err != unix.EADDRINUSE {
		t.Fatal(err)
	}
	return err == nil
}

// A process of another user wants our datagrams.
func TestThief(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to start another user's process")
	}
	sealed := func(t *testing.T) net.PacketConn {
		former := net.ListenConfig{Control: testnet.ReuseAddr.Control}
		there, err := former.ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer there.Close()
		return listenPacket(t, reuse.Addr.ListenPacket, there.LocalAddr().String())
	}
	opened := func(listen func(network, address string) (net.PacketConn, error)) func(*testing.T) net.PacketConn {
		return func(t *testing.T) net.PacketConn { return listenPacket(t, listen, "127.0.0.1:0") }
	}
	exposed := func(network, address string) (net.PacketConn, error) {
		return reuse.Addr.ListenConfig().ListenPacket(context.Background(), network, address)
	}
	for _, owner := range []struct {
		name string
		open func(*testing.T) net.PacketConn
		safe bool
	}{
		{"Addr", opened(reuse.Addr.ListenPacket), true},
		{"Addr, sealed", sealed, true},
		{"Port", opened(reuse.Port.ListenPacket), true},
		{"control", opened(exposed), false},
	} {
		for _, options := range []testnet.Options{testnet.ReuseAddr, testnet.ReusePort, testnet.ReuseAddr | testnet.ReusePort} {
			t.Run(owner.name+"/"+options.String(), func(t *testing.T) {
				if owner.name == "Addr, sealed" && goesByBind(t) {
					t.Skip("needs a kernel that goes by the options that sockets have now")
				}
				if owner.name == "Port" && options&testnet.ReusePort != 0 && goesByBind(t) {
					t.Skip("needs a kernel that shares a port within one user, which gVisor does not")
				}
				const datagrams = 100
				pc := owner.open(t)
				p := testnet.Start(t, nobody, "thief", pc.LocalAddr().String(), strconv.Itoa(int(options)))
				want := "EADDRINUSE"
				if !owner.safe && options != testnet.ReusePort {
					want = "bound"
				}
				if got := p.Line(t); got != want {
					t.Fatalf("the thief: %q, want %q", got, want)
				}
				send(t, pc.LocalAddr(), datagrams)
				safe, expected := want == "EADDRINUSE", 0
				if safe {
					expected = datagrams
				}
				got, err := pending(pc, expected)
				if err != nil {
					t.Fatal(err)
				}
				if safe {
					if got != datagrams {
						t.Errorf("the owner got %d of %d datagrams", got, datagrams)
					}
					return
				}
				fmt.Fprintln(p.In, datagrams)
				if stolen := p.Line(t); stolen != strconv.Itoa(datagrams) || got != 0 {
					t.Errorf("the thief got %s datagrams and the owner %d: the control shows no theft", stolen, got)
				}
			})
		}
	}
}

func listenPacket(t testing.TB, listen func(network, address string) (net.PacketConn, error), address string) net.PacketConn {
	t.Helper()
	pc, err := listen("udp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	return pc
}

// Who held the port with SO_REUSEADDR before Addr.ListenPacket stays on it, and
// gets a client's datagrams back by connecting to it.
func TestSquatter(t *testing.T) {
	if goesByBind(t) {
		t.Skip("needs a kernel that goes by the options that sockets have now")
	}
	const datagrams = 50
	former := func(network, address string) (net.PacketConn, error) {
		config := net.ListenConfig{Control: testnet.ReuseAddr.Control}
		return config.ListenPacket(t.Context(), network, address)
	}
	there := listenPacket(t, former, "127.0.0.1:0")
	pc := listenPacket(t, reuse.ListenPacket, there.LocalAddr().String())

	client, err := net.DialUDP("udp4", nil, pc.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	split := func(expected [2]int) [2]int {
		for range datagrams {
			if _, err := client.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		ours, err1 := pending(pc, expected[0])
		theirs, err2 := pending(there, expected[1])
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		return [2]int{ours, theirs}
	}
	want := [2]int{datagrams, 0}
	if got := split(want); got != want {
		t.Errorf("datagrams at our socket and the former one: %v, want %v", got, want)
	}
	c, err := there.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = c.Control(func(fd uintptr) {
		addr := client.LocalAddr().(*net.UDPAddr).AddrPort()
		failed = unix.Connect(int(fd), &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()})
	})
	if err := errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	want = [2]int{0, datagrams}
	if got := split(want); got != want {
		t.Errorf("after it connected to the client: %v, want %v", got, want)
	}
}

// For port 0 a socket gets a port of its own. A namespace with one ephemeral
// port shows it; a Control hook gives that port out twice.
func TestPort0(t *testing.T) {
	testnet.Namespace(t)
	testnet.Sysctl(t, "ip_local_port_range", "20000 20000")
	pc := listenPacket(t, net.ListenPacket, "127.0.0.1:0")
	if another, err := net.ListenPacket("udp4", "127.0.0.1:0"); err == nil {
		another.Close()
		t.Skip("needs a kernel that keeps to ip_local_port_range")
	}
	pc.Close()
	for _, m := range modes {
		for _, port := range []string{"0", "", "00"} {
			pc, err := m.ListenPacket("udp4", "127.0.0.1:"+port)
			if err != nil {
				t.Fatal(err)
			}
			another, err := m.ListenPacket("udp4", "127.0.0.1:"+port)
			wantInUse(t, "the one port again", err)
			if err == nil {
				another.Close()
			}
			pc.Close()
		}

		config := m.ListenConfig()
		pc, err := config.ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		another, err := config.ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatalf("%v: the control gets no port: %v", m, err)
		}
		if got := another.LocalAddr().String(); got != pc.LocalAddr().String() {
			t.Errorf("%v: the control got %s, not the port in use", m, got)
		}
		another.Close()
		pc.Close()
	}
}

// Sockets that join one after the other, the first through port 0, share their
// port only within one user.
func TestJoin(t *testing.T) {
	testnet.Namespace(t)
	first := listenPacket(t, reuse.Port.ListenPacket, "127.0.0.1:0")
	address := first.LocalAddr().String()
	listenPacket(t, reuse.Port.ListenPacket, address)
	if goesByBind(t) {
		return // and other users share it, too
	}
	testnet.As(t, nobody, func() {
		pc, err := reuse.Port.ListenPacket("udp4", address)
		wantInUse(t, "another user", err)
		if err == nil {
			pc.Close()
		}
	})
}
