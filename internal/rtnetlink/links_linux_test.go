package rtnetlink

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// add makes an interface, and sets it up.
func add(t testing.TB, name, kind string, data []byte) {
	t.Helper()
	c, err := open(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(c.fd)
	info := attribute(nil, 1, []byte(kind))
	if data != nil {
		info = attribute(info, 2|unix.NLA_F_NESTED, data)
	}
	body := make([]byte, sizeLink)
	body = attribute(body, unix.IFLA_IFNAME, []byte(name+"\x00"))
	body = attribute(body, unix.IFLA_LINKINFO|unix.NLA_F_NESTED, info)
	set(t, name, kind, body, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
}

// up sets an interface up or down.
func up(t testing.TB, name string, flags uint32) {
	t.Helper()
	body := make([]byte, sizeLink)
	binary.NativeEndian.PutUint32(body[8:], flags)
	binary.NativeEndian.PutUint32(body[12:], unix.IFF_UP)
	set(t, name, "", attribute(body, unix.IFLA_IFNAME, []byte(name+"\x00")), 0)
}

func set(t testing.TB, name, kind string, body []byte, flags uint16) {
	t.Helper()
	c, err := open(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(c.fd)
	err = c.ask(t.Context(), unix.RTM_NEWLINK, unix.NLM_F_ACK|flags, body, func([]byte) error { return nil })
	if errors.Is(err, unix.EOPNOTSUPP) && kind != "" {
		t.Skipf("needs a kernel with interfaces of kind %s", kind)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// port4 is an attribute with a port in the network's byte order.
func port4(kind, port uint16) []byte {
	return attribute(nil, kind, binary.BigEndian.AppendUint16(nil, port))
}

func TestTunnels(t *testing.T) {
	for _, test := range []struct {
		kind string
		data []byte
		want Link
	}{
		{"vxlan", attribute(port4(15, 4790), 1, []byte{1, 0, 0, 0}), Link{Port: 4790, IPv4: true}},
		{"vxlan", append(attribute(port4(15, 4791), 1, []byte{1, 0, 0, 0}), attribute(nil, 17, append(make([]byte, 15), 1))...), Link{Port: 4791, IPv6: true}},
		{"vxlan", attribute(port4(15, 4792), 25, []byte{1}), Link{Port: 4792, IPv4: true, IPv6: true}},
		{"geneve", append(attribute(port4(5, 6082), 1, []byte{1, 0, 0, 0}), attribute(nil, 2, []byte{127, 0, 0, 1})...), Link{Port: 6082, IPv4: true}},
		{"bareudp", append(port4(1, 6635), attribute(nil, 2, []byte{0x08, 0})...), Link{Port: 6635, IPv4: true, IPv6: true}},
		{"wireguard", nil, Link{IPv4: true, IPv6: true}},
	} {
		t.Run(test.kind, func(t *testing.T) {
			testnet.NeedRoot(t)
			testnet.Namespace(t)
			before := testnet.Descriptors(t)
			links, err := Tunnels(t.Context())
			if err != nil || len(links) != 0 {
				t.Fatalf("of a new namespace: %+v, %v", links, err)
			}
			add(t, "tun0", test.kind, test.data)
			for _, state := range []struct {
				flags uint32
				up    bool
			}{{0, false}, {unix.IFF_UP, true}} {
				up(t, "tun0", state.flags)
				links, err := Tunnels(t.Context())
				if err != nil || len(links) != 1 {
					t.Fatalf("%+v, %v", links, err)
				}
				got, want := links[0], test.want
				if test.kind == "wireguard" && state.up && got.Port != 0 {
					want.Port = got.Port // as the kernel chose it
				}
				want.Index, want.Name, want.Kind, want.Up = got.Index, "tun0", test.kind, state.up
				if got != want || got.Index == 0 {
					t.Errorf("%+v, want %+v", got, want)
				}
			}
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			if links, err := Tunnels(ended); err == nil {
				t.Errorf("with an ended context: %+v", links)
			}
			if after := testnet.Descriptors(t); after != before {
				t.Errorf("%d descriptors before, %d after", before, after)
			}
		})
	}
}
