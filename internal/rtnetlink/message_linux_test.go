package rtnetlink

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// message returns one of the kernel's.
func message(kind, flags uint16, seq uint32, body []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(sizeHeader+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = append(append(b, 0, 0, 0, 0), body...)
	return append(b, make([]byte, align(len(b))-len(b))...)
}

func number(n int32) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }

func TestEachMessage(t *testing.T) {
	const multi = unix.NLM_F_MULTI
	one := message(unix.RTM_NEWLINK, multi, 7, []byte("a"))
	for name, test := range map[string]struct {
		datagram []byte
		got      string
		done     bool
		err      error
	}{
		"empty":          {nil, "", false, nil},
		"one of many":    {one, "a", false, nil},
		"two of many":    {append(one[:len(one):len(one)], one...), "aa", false, nil},
		"a single one":   {message(16, 0, 7, []byte("b")), "b", true, nil},
		"the end":        {append(one[:len(one):len(one)], message(unix.NLMSG_DONE, multi, 7, number(0))...), "a", true, nil},
		"a short end":    {message(unix.NLMSG_DONE, multi, 7, nil), "", true, nil},
		"an error":       {message(unix.NLMSG_ERROR, 0, 7, number(-int32(unix.EPERM))), "", true, unix.EPERM},
		"no error":       {message(unix.NLMSG_ERROR, 0, 7, number(0)), "", true, nil},
		"a strange one":  {message(unix.NLMSG_ERROR, 0, 7, number(5)), "", true, errMalformed},
		"of another":     {message(16, 0, 6, []byte("b")), "", false, nil},
		"nothing":        {message(unix.NLMSG_NOOP, 0, 7, nil), "", false, nil},
		"a short header": {one[:8], "", false, errMalformed},
		"a short body":   {one[:16], "", false, errMalformed},
		"a length of 0":  {make([]byte, 16), "", false, errMalformed},
	} {
		var got string
		done, err := eachMessage(test.datagram, 7, func(body []byte) error { got += string(body); return nil })
		if got != test.got || done != test.done || !errors.Is(err, test.err) {
			t.Errorf("%s: %q, %v, %v", name, got, done, err)
		}
	}
	stop := errors.New("stop")
	if done, err := eachMessage(one, 7, func([]byte) error { return stop }); done || err != stop {
		t.Errorf("%v, %v", done, err)
	}
}

func TestParseListenPort(t *testing.T) {
	body := attribute(generic(0), 2, []byte("wg0\x00"))
	if port, err := parseListenPort(body); port != 0 || err != nil {
		t.Errorf("without: %d, %v", port, err)
	}
	body = attribute(body, 6, binary.NativeEndian.AppendUint16(nil, 51820))
	if port, err := parseListenPort(body); port != 51820 || err != nil {
		t.Errorf("%d, %v", port, err)
	}
	if _, err := parseListenPort(nil); err == nil {
		t.Error("of nothing")
	}
	if id, err := parseFamily(attribute(generic(1), unix.CTRL_ATTR_FAMILY_ID, []byte{31, 31})); id != 31<<8+31 || err != nil {
		t.Errorf("family %d, %v", id, err)
	}
	for _, body := range [][]byte{nil, generic(1), attribute(generic(1), unix.CTRL_ATTR_FAMILY_ID, []byte{31})} {
		if id, err := parseFamily(body); err == nil {
			t.Errorf("family %d of %v", id, body)
		}
	}
}

// FuzzLink reads hostile messages; and finds a port where the kernel writes it.
func FuzzLink(f *testing.F) {
	f.Add([]byte{}, "vx0", uint16(4789))
	f.Add(attribute(nil, unix.IFLA_LINKINFO, []byte("\x07\x00\x01\x00vx")), "a\nb", uint16(1))
	f.Fuzz(func(t *testing.T, b []byte, name string, port uint16) {
		parseLink(b)
		parseFamily(b)
		parseListenPort(b)
		eachMessage(b, 0, func(body []byte) error { _, err := parseLink(body); return err })
		if len(name) > 100 || len(b) > 1000 {
			return
		}
		body := append(make([]byte, sizeLink), attribute(nil, 60, b)...)
		body = attribute(body, unix.IFLA_IFNAME, []byte(name+"\x00"))
		info := attribute(attribute(nil, 1, []byte("vxlan\x00")), 2, port4(15, port))
		l, err := parseLink(attribute(body, unix.IFLA_LINKINFO|unix.NLA_F_NESTED, info))
		if err != nil || l.Port != port || l.Name != text([]byte(name)) || l.Kind != "vxlan" {
			t.Errorf("%+v, %v, want %q, %d", l, err, name, port)
		}
	})
}
