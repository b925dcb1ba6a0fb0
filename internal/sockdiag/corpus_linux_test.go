package sockdiag

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// native is this program's byte order.
var native = binary.NativeEndian

// orderOf returns a byte order.
func orderOf(big bool) binary.ByteOrder {
	if big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// corpus calls f with every file of testdata, and what there was.
func corpus(t testing.TB, f func(path string, file file, w truth, data []byte)) {
	t.Helper()
	kernels, err := filepath.Glob("testdata/*/sockets.json")
	if err != nil || len(kernels) == 0 {
		t.Fatalf("testdata: %v, %v", kernels, err)
	}
	for _, kernel := range kernels {
		text, err := os.ReadFile(kernel)
		if err != nil {
			t.Fatal(err)
		}
		var w truth
		if err := json.Unmarshal(text, &w); err != nil {
			t.Fatal(kernel, err)
		}
		read := 0
		for _, file := range files {
			path := filepath.Join(filepath.Dir(kernel), file.name)
			data, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) && file.table.name == "" {
				continue // an emulator has no netlink
			}
			if err != nil {
				t.Fatal(err)
			}
			read++
			f(path, file, w, data)
		}
		if read != 5 && read != len(files) {
			t.Errorf("%s: %d files", kernel, read)
		}
	}
}

// parseAnswer reads an answer to request 1.
func parseAnswer(data []byte, order binary.ByteOrder, protocol uint8) (sockets []Socket, unixSockets []UnixSocket, done bool, err error) {
	done, err = eachMessage(data, order, 1, func(_ uint16, body reader) error {
		if protocol == 0 {
			s, err := parseUnix(body)
			if err == nil {
				unixSockets = append(unixSockets, s)
			}
			return err
		}
		s, err := parseInet(body, protocol)
		if err == nil {
			sockets = append(sockets, s)
		}
		return err
	})
	return sockets, unixSockets, done, err
}

// eachAnswer splits the answers to look-ups, which are a message each.
func eachAnswer(t testing.TB, data []byte, order binary.ByteOrder, f func(message []byte)) {
	t.Helper()
	for len(data) > 0 {
		length := int(order.Uint32(data)+3) &^ 3
		if length < sizeHeader || length > len(data) {
			t.Fatalf("a message of %d bytes in %d", length, len(data))
		}
		f(data[:length])
		data = data[length:]
	}
}

// TestCorpus reads what kernels answered, in their byte order.
func TestCorpus(t *testing.T) {
	corpus(t, func(path string, file file, w truth, data []byte) {
		t.Run(path, func(t *testing.T) {
			if strings.Contains(path, "/unix") {
				testnet.NeedSocketTypes(t)
			}
			order := orderOf(w.BigEndian)
			switch {
			case file.name == "unix":
				sockets, err := parseUnixTable(bytes.NewReader(data))
				if err != nil {
					t.Fatal(err)
				}
				checkUnix(t, sockets, unixProc(w.Unix))
			case file.table.name != "":
				sockets, err := parseTable(bytes.NewReader(data), file.table, order, all)
				if err != nil {
					t.Fatal(err)
				}
				checkProc(t, sockets, file.want(w))
			case file.name == "error.netlink":
				checkErrors(t, data, order)
			case file.name == "lookup.netlink":
				var sockets []Socket
				eachAnswer(t, data, order, func(message []byte) {
					s, _, done, err := parseAnswer(message, order, file.table.protocol)
					if err != nil || !done {
						t.Errorf("%v, %v", done, err)
					}
					sockets = append(sockets, s...)
				})
				check(t, sockets, file.want(w))
			default:
				checkAnswer(t, data, order, file, w)
			}
		})
	})
}

func all(Socket) bool { return true }

func checkAnswer(t *testing.T, data []byte, order binary.ByteOrder, file file, w truth) {
	t.Helper()
	sockets, unixSockets, done, err := parseAnswer(data, order, file.table.protocol)
	if err != nil || !done {
		t.Fatal(done, err)
	}
	if file.table.protocol == 0 {
		checkUnix(t, unixSockets, unixNetlink(w.Unix, unixSockets))
		return
	}
	want := file.want(w)
	if file.name == "bound.netlink" && !w.listsBound() {
		want = nil
	}
	check(t, sockets, want)
}

func checkErrors(t *testing.T, data []byte, order binary.ByteOrder) {
	t.Helper()
	want := []error{nil, unix.ENOENT, unix.EINVAL, unix.EINVAL}
	i := 0
	eachAnswer(t, data, order, func(message []byte) {
		sockets, _, done, err := parseAnswer(message, order, unix.IPPROTO_TCP)
		if !done || i >= len(want) || err != want[i] {
			t.Errorf("answer %d: %v, %v", i, done, err)
		}
		if i == 0 && (len(sockets) != 1 || sockets[0].State != Listen) {
			t.Errorf("instead of a connection %+v", sockets)
		}
		i++
	})
	if i != len(want) {
		t.Errorf("%d answers", i)
	}
}

// TestCorpusSwapped is the negative control of TestCorpus: in the other byte order
// the answers are none, and the tables have other addresses.
func TestCorpusSwapped(t *testing.T) {
	corpus(t, func(path string, file file, w truth, data []byte) {
		other := orderOf(!w.BigEndian)
		switch {
		case file.name == "unix":
			// It has no byte order.
		case file.table.name == "":
			if _, _, done, err := parseAnswer(data, other, file.table.protocol); done && err == nil {
				t.Errorf("%s is an answer in the other byte order, too", path)
			}
		default:
			sockets, err := parseTable(bytes.NewReader(data), file.table, other, all)
			if err != nil {
				t.Fatal(path, err)
			}
			right := map[string]bool{}
			for _, s := range file.want(w) {
				right[s.Local.String()] = true
			}
			for _, s := range sockets {
				if right[s.Local.String()] != s.Local.Addr().IsUnspecified() {
					t.Errorf("%s has %v in the other byte order, too", path, s.Local)
				}
			}
		}
	})
}
