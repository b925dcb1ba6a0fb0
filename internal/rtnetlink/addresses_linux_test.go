package rtnetlink

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// TestInterfaces compares with what package net tells.
func TestInterfaces(t *testing.T) {
	testnet.NeedNative(t)
	got, err := Interfaces(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d interfaces, want %d", len(got), len(want))
	}
	for n, i := range want {
		if g := got[n]; g.Index != i.Index || g.Name != i.Name || g.Up != (i.Flags&net.FlagUp != 0) || g.Loopback != (i.Flags&net.FlagLoopback != 0) {
			t.Errorf("%+v, want %+v", g, i)
		}
		addrs, err := i.Addrs()
		if err != nil {
			t.Fatal(err)
		}
		var hosts, have []netip.Addr
		for _, addr := range addrs {
			host, _ := netip.AddrFromSlice(addr.(*net.IPNet).IP)
			hosts = append(hosts, host.Unmap())
		}
		for _, a := range got[n].Addresses {
			have = append(have, a.Addr)
		}
		if !slices.Equal(have, hosts) {
			t.Errorf("%s has %v, want %v", i.Name, have, hosts)
		}
	}
}

func TestParseInterface(t *testing.T) {
	const up, linked, dormant, loopback = unix.IFF_UP, unix.IFF_LOWER_UP, unix.IFF_DORMANT, unix.IFF_LOOPBACK
	for name, test := range map[string]struct {
		flags uint32
		want  Interface
	}{
		"up":         {up | linked | loopback, Interface{Up: true, Linked: true, Loopback: true}},
		"no carrier": {up, Interface{Up: true}},
		"dormant":    {up | linked | dormant, Interface{Up: true}},
		"down":       {0, Interface{}},
	} {
		body := make([]byte, sizeLink)
		binary.NativeEndian.PutUint32(body[4:], 3)
		binary.NativeEndian.PutUint32(body[8:], test.flags)
		body = attribute(body, unix.IFLA_IFNAME, []byte("v0\x00"))
		got, err := parseInterface(body)
		if err != nil || got.Name != "v0" || got.Index != 3 || got.Up != test.want.Up || got.Linked != test.want.Linked || got.Loopback != test.want.Loopback {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := parseInterface(make([]byte, sizeLink-1)); !errors.Is(err, errMalformed) {
		t.Errorf("cut short: %v", err)
	}
}

func TestParseAddress(t *testing.T) {
	own, peer := []byte{192, 0, 2, 7}, []byte{192, 0, 2, 8}
	wide := func(flags uint32) []byte { return binary.NativeEndian.AppendUint32(nil, flags) }
	const tentative, failed, optimistic = unix.IFA_F_TENTATIVE, unix.IFA_F_DADFAILED, unix.IFA_F_OPTIMISTIC
	for name, test := range map[string]struct {
		flags                byte
		local, address, wide []byte
		want                 Address
	}{
		"IPv4 to a peer": {0, own, peer, nil, Address{Addr: netip.MustParseAddr("192.0.2.7")}},
		"IPv6":           {0, nil, net.ParseIP("fd00::5"), nil, Address{Addr: netip.MustParseAddr("fd00::5")}},
		"tentative":      {tentative, nil, own, nil, Address{Addr: netip.MustParseAddr("192.0.2.7"), Tentative: true}},
		"wide flags":     {0, nil, own, wide(tentative | failed | 1<<9), Address{netip.MustParseAddr("192.0.2.7"), true, true}},
		"optimistic":     {tentative, nil, own, wide(tentative | optimistic), Address{Addr: netip.MustParseAddr("192.0.2.7")}},
		"narrow flags":   {failed, nil, own, []byte{0}, Address{Addr: netip.MustParseAddr("192.0.2.7"), Duplicate: true}},
		"another family": {0, nil, []byte{1, 2, 3}, nil, Address{}},
		"none":           {0, nil, nil, nil, Address{}},
	} {
		body := []byte{unix.AF_INET, 24, test.flags, 0, 0, 0, 0, 0}
		binary.NativeEndian.PutUint32(body[4:], 3)
		for kind, value := range map[uint16][]byte{unix.IFA_LOCAL: test.local, unix.IFA_ADDRESS: test.address, unix.IFA_FLAGS: test.wide} {
			if value != nil {
				body = attribute(body, kind, value)
			}
		}
		index, got, err := parseAddress(body)
		if err != nil || index != 3 || got != test.want {
			t.Errorf("%s: %d, %+v, %v", name, index, got, err)
		}
	}
	if _, _, err := parseAddress(make([]byte, sizeAddress-1)); !errors.Is(err, errMalformed) {
		t.Errorf("cut short: %v", err)
	}
}
