package inuse

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/windows"
)

// underWine reports whether Windows is Wine, which does not know the process of a socket
// that has only listened.
func underWine() bool {
	return windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
}

// TestSocketRows looks for sockets of this process among all of Windows.
func TestSocketRows(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ln6, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln6.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	for _, step := range []func([]byte) (int, error){accepted.Write, client.Read} {
		if _, err := step(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	fd, err := windows.WSASocket(windows.AF_INET, windows.SOCK_DGRAM, windows.IPPROTO_UDP, nil, 0, windows.WSA_FLAG_NO_HANDLE_INHERIT)
	if err != nil {
		t.Fatal(err)
	}
	defer windows.Closesocket(fd)
	if err := windows.Bind(fd, &windows.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := windows.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	udp := fmt.Sprint("127.0.0.1:", name.(*windows.SockaddrInet4).Port)

	rows, err := socketRows()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		network, local, remote, state string
		used                          bool // it has been read from
	}{
		{"tcp4", ln.Addr().String(), "", "LISTEN", false},
		{"tcp6", ln6.Addr().String(), "", "LISTEN", false},
		{"tcp4", client.LocalAddr().String(), ln.Addr().String(), "ESTABLISHED", true},
		{"udp4", udp, "", "", false},
	} {
		i := slices.IndexFunc(rows, func(r row) bool {
			return r.network == want.network && r.local.String() == want.local && r.state == want.state
		})
		if i < 0 {
			t.Errorf("%s %s is not there: %q", want.network, want.local, rowTexts(rows))
			continue
		}
		r := rows[i]
		if want.remote != "" && r.remote.String() != want.remote || want.remote == "" && r.remote.IsValid() {
			t.Errorf("%+v, want %+v", r, want)
		}
		if r.pid != os.Getpid() && (want.used || !underWine() || r.pid != 0) {
			t.Errorf("%s %s: pid %d, want %d", want.network, want.local, r.pid, os.Getpid())
		}
	}
}

// TestWindowsCensus asks Windows about this process.
func TestWindowsCensus(t *testing.T) {
	p := windowsCensus().process(row{pid: os.Getpid()})
	if !strings.HasSuffix(p.Name, ".exe") || p.Started.IsZero() || p.unit.kind != windowsTask {
		t.Errorf("%+v", p)
	}
	if p := windowsCensus().process(row{pid: 4}); p.Name != "System" || p.unit.kind != windowsKernel {
		t.Errorf("%+v", p)
	}
	if services := runningServices(); len(services) == 0 {
		t.Error("no service is running")
	}
}

// Free, in use, and the error of a listen that was refused.
func TestFindOnWindows(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	_, refused := net.Listen("tcp", address)
	a, ok := attemptOf(refused)
	if !ok || a.refusal != refusedInUse {
		t.Fatalf("%v: %+v", refused, a)
	}
	cause := func(f *finding) Cause {
		if f == nil {
			return ""
		}
		text := f.error().Text()
		for _, word := range []string{"rpcinfo", "sudo", "kill ", "SO_REUSE"} {
			if strings.Contains(strings.ReplaceAll(text, "taskkill ", ""), word) {
				t.Errorf("of another system: %s", text)
			}
		}
		return f.cause
	}
	want := CauseSelf
	if underWine() {
		want = CauseNoProcess
	}
	if got := cause(a.find(t.Context())); got != want {
		t.Errorf("refused: %q, want %q", got, want)
	}
	if want == CauseSelf {
		want = CauseListener
	}
	if got := cause(asked("tcp", address).checkAddress(t.Context())); got != want {
		t.Errorf("checked: %q, want %q", got, want)
	}
	ln.Close()
	if got := cause(asked("tcp", address).checkAddress(t.Context())); got != CauseFree {
		t.Errorf("closed: %q", got)
	}
	if got := cause(a.find(t.Context())); got != CauseFree {
		t.Errorf("refused before: %q", got)
	}
	if err := asked("tcp", "192.0.2.1:80").bindPlain(); !errors.Is(err, windows.WSAEADDRNOTAVAIL) {
		t.Errorf("not here: %v", err)
	}
}
