package inuse

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// pass gives a socket to a process that keeps it open, closes it here, and returns the
// process.
func pass(t testing.TB, sock interface {
	File() (*os.File, error)
	Close() error
}) *exec.Cmd {
	t.Helper()
	f, err := sock.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("cat") // at the end of its input it ends
	cmd.ExtraFiles = []*os.File{f}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("needs cat: %v", err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	sock.Close()
	return cmd
}

// listens returns what Listening says, a line for each socket.
func listens(t testing.TB) string {
	t.Helper()
	l, err := Listening(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var s strings.Builder
	for _, h := range l.Sockets {
		fmt.Fprintf(&s, "%s %v %s %d", h.Network, h.Local, h.State, h.UID)
		for _, p := range h.Processes {
			fmt.Fprintf(&s, " %d", p.PID)
		}
		fmt.Fprintf(&s, " %s\n", h.Remedy.Kind)
	}
	return s.String()
}

func TestListening(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	if got := listens(t); got != "" {
		t.Fatalf("in an empty namespace: %s", got)
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:9999")
	if err != nil {
		t.Fatal(err)
	}
	server := pass(t, ln.(*net.TCPListener))
	pc, err := net.ListenPacket("udp6", "[::1]:53")
	if err != nil {
		t.Fatal(err)
	}
	receiver := pass(t, pc.(*net.UDPConn))
	// What does not listen: both ends of a connection, a socket that is bound only, and
	// one of UDP that is connected.
	client, err := net.Dial("tcp4", "127.0.0.1:9999")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	dialed, err := net.Dial("udp4", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer dialed.Close()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: 9998}); err != nil {
		t.Fatal(err)
	}

	uid := os.Getuid()
	want := fmt.Sprintf("tcp4 127.0.0.1:9999 LISTEN %d %d stop-process\nudp6 [::1]:53 UNCONN %d %d stop-process\n", uid, server.Process.Pid, uid, receiver.Process.Pid)
	before := testnet.Descriptors(t)
	if got := listens(t); got != want {
		t.Errorf("%swant\n%s", got, want)
	}
	if after := testnet.Descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}

	// The remedy, applied, does what it says.
	server.Process.Signal(unix.SIGTERM)
	server.Wait()
	if got := listens(t); strings.Contains(got, "tcp") {
		t.Errorf("after the server has ended: %s", got)
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if l, err := Listening(ended); err == nil || strings.Contains(err.Error(), "context") {
		t.Errorf("with an ended context: %v, %v", l, err)
	}
}

// Another user's socket has an owner, but no process.
func TestListeningOthers(t *testing.T) {
	testnet.NeedTables(t)
	testnet.NeedRoot(t)
	testnet.Namespace(t)
	const nobody = 65534
	var ln net.Listener
	testnet.As(t, nobody, func() {
		var err error
		if ln, err = net.Listen("tcp", ":9999"); err != nil {
			t.Fatal(err)
		}
	})
	defer ln.Close()
	l, err := Listening(t.Context())
	if err != nil || len(l.Sockets) != 1 {
		t.Fatal(l, err)
	}
	if h := l.Sockets[0]; h.UID != nobody || h.User != username(nobody) || h.Network != "tcp6" || h.V6Only {
		t.Errorf("%+v", h)
	}
	if text := l.Text(); !strings.Contains(text, "tcp 9999 all ") {
		t.Errorf("%s", text)
	}
}
