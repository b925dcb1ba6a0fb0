package sockdiag

import (
	"bytes"
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var capture = flag.String("capture", "", "write the answers of this kernel to `DIR`, as in testdata")

// captured are the files of a kernel's directory in testdata.
var captured = []struct {
	name  string
	table table // of procfs; its name is "" if the file is an answer of netlink
	body  func() []byte
	want  []string
}{
	{"tcp4.netlink", table{"", unix.AF_INET, unix.IPPROTO_TCP}, inet(unix.AF_INET, unix.IPPROTO_TCP, AnyState&^Set(Bound)), wantTCP4},
	{"tcp6.netlink", table{"", unix.AF_INET6, unix.IPPROTO_TCP}, inet(unix.AF_INET6, unix.IPPROTO_TCP, AnyState&^Set(Bound)), wantTCP6},
	{"udp4.netlink", table{"", unix.AF_INET, unix.IPPROTO_UDP}, inet(unix.AF_INET, unix.IPPROTO_UDP, AnyState), wantUDP4},
	{"udp6.netlink", table{"", unix.AF_INET6, unix.IPPROTO_UDP}, inet(unix.AF_INET6, unix.IPPROTO_UDP, AnyState), wantUDP6},
	{"bound.netlink", table{"", unix.AF_INET, unix.IPPROTO_TCP}, inet(unix.AF_INET, unix.IPPROTO_TCP, Set(Bound)), wantBound},
	{"unix.netlink", table{}, unixRequest, nil},
	{"tcp", table{"tcp", unix.AF_INET, unix.IPPROTO_TCP}, nil, wantTCP4},
	{"tcp6", table{"tcp6", unix.AF_INET6, unix.IPPROTO_TCP}, nil, wantTCP6},
	{"udp", table{"udp", unix.AF_INET, unix.IPPROTO_UDP}, nil, wantUDP4},
	{"udp6", table{"udp6", unix.AF_INET6, unix.IPPROTO_UDP}, nil, wantUDP6},
	{"unix", table{name: "unix"}, nil, nil},
}

func inet(family, protocol uint8, states States) func() []byte {
	return func() []byte { return inetRequest(Request{Protocol: protocol, States: states}, family) }
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
	situation(t)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range captured {
		var data []byte
		if file.body == nil {
			if data, err = os.ReadFile(procNet + file.table.name); err != nil {
				t.Fatal(err)
			}
		} else {
			c, err := Open()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.send(unix.NLM_F_DUMP, file.body()); err != nil {
				t.Fatal(err)
			}
			for done := false; !done; {
				datagram, err := c.receive()
				if err != nil {
					t.Fatal(err)
				}
				data = append(data, datagram...)
				done, err = eachMessage(datagram, binary.NativeEndian, c.seq, func(uint16, reader) error { return nil })
				if err != nil {
					t.Fatal(file.name, err)
				}
			}
		}
		if err := os.WriteFile(filepath.Join(dir, file.name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// corpus calls f with every file of testdata, the byte order of its kernel, and
// what it is.
func corpus(t testing.TB, f func(path string, order binary.ByteOrder, index int, data []byte)) {
	t.Helper()
	kernels, err := filepath.Glob("testdata/*/tcp")
	if err != nil || len(kernels) == 0 {
		t.Fatalf("testdata: %v, %v", kernels, err)
	}
	for _, kernel := range kernels {
		dir := filepath.Dir(kernel)
		order := binary.ByteOrder(binary.LittleEndian)
		if strings.HasSuffix(dir, "-s390x") {
			order = binary.BigEndian
		}
		for i, file := range captured {
			data, err := os.ReadFile(filepath.Join(dir, file.name))
			if err != nil {
				t.Fatal(err)
			}
			f(filepath.Join(dir, file.name), order, i, data)
		}
	}
}

// parseAnswer reads a netlink answer to request 1.
func parseAnswer(data []byte, order binary.ByteOrder, protocol uint8) (sockets []Socket, unixSockets []UnixSocket, done bool, err error) {
	done, err = eachMessage(data, order, 1, func(_ uint16, body reader) error {
		if protocol == 0 {
			s, err := parseUnix(body)
			unixSockets = append(unixSockets, s)
			return err
		}
		s, err := parseInet(body, protocol)
		sockets = append(sockets, s)
		return err
	})
	return sockets, unixSockets, done, err
}

// TestCorpus reads what other kernels answered, in their byte order. In the other
// order it is not the same.
func TestCorpus(t *testing.T) {
	corpus(t, func(path string, order binary.ByteOrder, index int, data []byte) {
		t.Run(strings.TrimPrefix(path, "testdata/"), func(t *testing.T) {
			file := captured[index]
			other := binary.ByteOrder(binary.LittleEndian)
			if order == binary.LittleEndian {
				other = binary.BigEndian
			}
			all := func(Socket) bool { return true }
			switch {
			case file.name == "unix":
				sockets, err := parseUnixTable(bytes.NewReader(data))
				if err != nil {
					t.Fatal(err)
				}
				checkUnix(t, sockets)
			case file.body == nil:
				sockets, err := parseTable(bytes.NewReader(data), file.table, order, all)
				if err != nil {
					t.Fatal(err)
				}
				check(t, sockets, file.want)
				swapped, err := parseTable(bytes.NewReader(data), file.table, other, all)
				if err == nil && len(swapped) > 0 && swapped[len(swapped)-1].Local == sockets[len(sockets)-1].Local && !sockets[len(sockets)-1].Local.Addr().IsUnspecified() {
					t.Error("in the other byte order it is the same")
				}
			default:
				sockets, unixSockets, done, err := parseAnswer(data, order, file.table.protocol)
				if err != nil || !done {
					t.Fatal(done, err)
				}
				switch {
				case file.table.protocol == 0:
					checkUnix(t, unixSockets)
				case file.name == "bound.netlink" && len(sockets) == 0:
					// 6.1 and before do not list it.
				default:
					check(t, sockets, file.want)
				}
				if _, _, done, err := parseAnswer(data, other, file.table.protocol); done && err == nil {
					t.Error("in the other byte order it is an answer, too")
				}
			}
		})
	})
}
