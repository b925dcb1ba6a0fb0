package sockdiag

import (
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzAnswer reads hostile answers. What it accepts makes sense.
func FuzzAnswer(f *testing.F) {
	corpus(f, func(_ string, file file, w truth, data []byte) {
		if file.table.name == "" {
			f.Add(data, w.BigEndian, file.table.protocol)
			f.Add(data[:len(data)/2], w.BigEndian, file.table.protocol)
		}
	})
	f.Fuzz(func(t *testing.T, data []byte, big bool, protocol uint8) {
		sockets, unixSockets, _, _ := parseAnswer(data, orderOf(big), protocol)
		if size := len(sockets)*(sizeHeader+sizeInetSocket) + len(unixSockets)*(sizeHeader+sizeUnixSocket); size > len(data) {
			t.Errorf("%d and %d sockets in %d bytes", len(sockets), len(unixSockets), len(data))
		}
		for _, s := range sockets {
			checkValid(t, s)
		}
		for _, s := range unixSockets {
			if len(s.Name) > len(data) {
				t.Errorf("%+v", s)
			}
		}
	})
}

// checkValid fails the test unless s makes sense to those who use it.
func checkValid(t testing.TB, s Socket) {
	t.Helper()
	family := s.Family == unix.AF_INET && s.Local.Addr().Is4() && s.Remote.Addr().Is4() || s.Family == unix.AF_INET6
	if !family || !s.Local.IsValid() || !s.Remote.IsValid() || s.Local.Addr().Is4In6() || s.Remote.Addr().Is4In6() ||
		s.Expires < 0 || s.State.String() == "" || s.V6Only && !s.V6OnlyKnown {
		t.Errorf("%+v", s)
	}
}
