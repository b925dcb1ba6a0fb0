package sockdiag

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

var (
	capture  = flag.String("capture", "", "write the answers of this kernel to `DIR`, as in testdata")
	emulated = flag.Bool("emulated", os.Getenv("TESTNET_EMULATED") == "swapped", "the kernel's byte order is not this program's")
)

// noCookie asks for a socket whatever its cookie is (INET_DIAG_NOCOOKIE).
const noCookie = 1<<64 - 1

// A file is one of a kernel's directory in testdata.
type file struct {
	name  string
	table table           // of procfs; its name is "" if the file is of netlink
	asks  []func() []byte // requests, each of whose answers ends
	flags uint16
	want  func(truth) []Socket
}

// inet is the file of a dump.
func inet(name string, r Request) file {
	return file{
		name: name, table: table{"", r.Family, r.Protocol}, flags: unix.NLM_F_DUMP,
		asks: []func() []byte{func() []byte { return inetRequest(r, r.Family) }},
		want: func(w truth) []Socket { return w.select1(r) },
	}
}

// proc is the file of a table.
func proc(name string, family, protocol uint8) file {
	return file{name: name, table: table{name, family, protocol}, want: func(w truth) []Socket {
		return w.select1(Request{Family: family, Protocol: protocol, States: AnyState &^ Set(Bound)})
	}}
}

const unbound = AnyState &^ (1 << Bound)

var files = []file{
	inet("tcp4.netlink", Request{Protocol: unix.IPPROTO_TCP, Family: unix.AF_INET, States: unbound}),
	inet("tcp6.netlink", Request{Protocol: unix.IPPROTO_TCP, Family: unix.AF_INET6, States: unbound}),
	inet("udp4.netlink", Request{Protocol: unix.IPPROTO_UDP, Family: unix.AF_INET, States: AnyState}),
	inet("udp6.netlink", Request{Protocol: unix.IPPROTO_UDP, Family: unix.AF_INET6, States: AnyState}),
	inet("bound.netlink", Request{Protocol: unix.IPPROTO_TCP, Family: unix.AF_INET, States: Set(Bound)}),
	{name: "unix.netlink", flags: unix.NLM_F_DUMP, asks: []func() []byte{unixRequest}},
	{
		name: "lookup.netlink", table: table{"", 0, unix.IPPROTO_TCP},
		asks: []func() []byte{
			lookup(socket("tcp", Listen, "127.0.0.1:5001", "")),
			lookup(socket("tcp", Established, "127.0.0.1:5001", "127.0.0.1:6001")),
			lookup(socket("tcp", TimeWait, "[::1]:5004", "[::1]:6004")),
			lookup(socket("tcp", SynRecv, "127.0.0.1:5007", "127.0.0.1:6007")),
		},
		want: func(w truth) []Socket {
			return slices.Concat(
				w.select1(Request{Protocol: unix.IPPROTO_TCP, LocalPort: 5001, States: Set(Listen)}),
				w.select1(Request{Protocol: unix.IPPROTO_TCP, LocalPort: 5001, RemotePort: 6001}),
				w.select1(Request{Protocol: unix.IPPROTO_TCP, LocalPort: 5004, RemotePort: 6004}),
				w.select1(Request{Protocol: unix.IPPROTO_TCP, LocalPort: 5007, RemotePort: 6007}),
			)
		},
	},
	{
		name: "error.netlink", table: table{"", 0, unix.IPPROTO_TCP},
		asks: []func() []byte{
			// Where there is no such connection it is the listener, if any cookie will do.
			lookup(socket("tcp", Established, "127.0.0.1:5001", "127.0.0.1:9")),
			func() []byte { return inetRequest(Request{Protocol: 250, States: 1}, 2) },     // ENOENT
			func() []byte { return inetRequest(Request{Protocol: 6, States: 1}, 2)[:20] },  // EINVAL
			func() []byte { return inetRequest(Request{Protocol: 6, States: 1}, 250)[:1] }, // EINVAL
		},
	},
	proc("tcp", unix.AF_INET, unix.IPPROTO_TCP),
	proc("tcp6", unix.AF_INET6, unix.IPPROTO_TCP),
	proc("udp", unix.AF_INET, unix.IPPROTO_UDP),
	proc("udp6", unix.AF_INET6, unix.IPPROTO_UDP),
	{name: "unix", table: table{name: "unix"}},
}

func lookup(s Socket) func() []byte {
	s.Cookie = noCookie
	return func() []byte { return lookupRequest(s) }
}

// TestCapture renews the part of the corpus that is this kernel's.
func TestCapture(t *testing.T) {
	if *capture == "" {
		return // not a test
	}
	dir, err := filepath.Abs(*capture)
	if err != nil {
		t.Fatal(err)
	}
	w := situation(t)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range files {
		if file.table.name != "" {
			data, err := os.ReadFile(procNet + file.table.name)
			if err != nil {
				t.Fatal(err)
			}
			write(file.name, data)
			continue
		}
		var data []byte
		for _, body := range file.asks {
			answer, err := captured(t, file.flags, body())
			if *emulated && errors.Is(err, unix.EPROTONOSUPPORT) {
				continue
			}
			if err != nil {
				t.Fatal(file.name, err)
			}
			data = append(data, answer...)
		}
		if data != nil {
			write(file.name, data)
		}
	}
	text, err := json.MarshalIndent(w, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	write("sockets.json", append(text, '\n'))
}

// captured returns all datagrams of the answer to a request with number 1.
func captured(t testing.TB, flags uint16, body []byte) (data []byte, err error) {
	t.Helper()
	c, err := Open()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.send(unix.SOCK_DIAG_BY_FAMILY, flags, body); err != nil {
		return nil, err
	}
	for {
		datagram, err := c.receive()
		if err != nil {
			return nil, err
		}
		data = append(data, datagram...)
		last := lastMessage(datagram)
		if flags&unix.NLM_F_DUMP == 0 || last == unix.NLMSG_DONE || last == unix.NLMSG_ERROR {
			return data, nil
		}
	}
}

// lastMessage returns the type of the last message in a datagram of this kernel.
func lastMessage(datagram []byte) (kind uint16) {
	for len(datagram) >= sizeHeader {
		length := min(int(native.Uint32(datagram)+3)&^3, len(datagram))
		kind = native.Uint16(datagram[4:])
		datagram = datagram[max(length, sizeHeader):]
	}
	return kind
}
