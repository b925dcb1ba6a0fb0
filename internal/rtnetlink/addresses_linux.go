package rtnetlink

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// An Interface is a network interface with its addresses.
type Interface struct {
	Index     int
	Name      string
	Up        bool // it is switched on
	Linked    bool // and can carry packets
	Loopback  bool
	Addresses []Address
}

// An Address is one of an interface.
type Address struct {
	netip.Addr      // without a zone
	Tentative  bool // it may not be used before the check for duplicates has ended
	Duplicate  bool // and that has failed
}

const sizeAddress = 8 // struct ifaddrmsg

// Interfaces returns the interfaces of the calling thread's network namespace.
func Interfaces(ctx context.Context) ([]Interface, error) {
	c, err := open(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer unix.Close(c.fd)
	var all []Interface
	at := map[int]int{}
	err = c.ask(ctx, unix.RTM_GETLINK, unix.NLM_F_DUMP, make([]byte, sizeLink), func(body []byte) error {
		i, err := parseInterface(body)
		at[i.Index] = len(all)
		all = append(all, i)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("rtnetlink, interfaces: %w", err)
	}
	err = c.ask(ctx, unix.RTM_GETADDR, unix.NLM_F_DUMP, make([]byte, sizeAddress), func(body []byte) error {
		index, addr, err := parseAddress(body)
		if i, known := at[index]; known && addr.IsValid() {
			all[i].Addresses = append(all[i].Addresses, addr)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("rtnetlink, addresses: %w", err)
	}
	return all, nil
}

// parseInterface reads a struct ifinfomsg and its attributes.
func parseInterface(body []byte) (Interface, error) {
	if len(body) < sizeLink {
		return Interface{}, errMalformed
	}
	flags := binary.NativeEndian.Uint32(body[8:])
	attrs := attributes(body[sizeLink:])
	return Interface{
		Index: int(int32(binary.NativeEndian.Uint32(body[4:]))), Name: text(attrs[unix.IFLA_IFNAME]),
		Up: flags&unix.IFF_UP != 0, Loopback: flags&unix.IFF_LOOPBACK != 0,
		// IFF_RUNNING would be up to a second late (linkwatch).
		Linked: flags&(unix.IFF_UP|unix.IFF_LOWER_UP|unix.IFF_DORMANT) == unix.IFF_UP|unix.IFF_LOWER_UP,
	}, nil
}

// parseAddress reads a struct ifaddrmsg and its attributes. The address is not valid if it
// is of another family than IP.
func parseAddress(body []byte) (index int, a Address, err error) {
	if len(body) < sizeAddress {
		return 0, a, errMalformed
	}
	attrs := attributes(body[sizeAddress:])
	value, own := attrs[unix.IFA_LOCAL]
	if !own { // where IFA_ADDRESS would be the peer's
		value = attrs[unix.IFA_ADDRESS]
	}
	a.Addr, _ = netip.AddrFromSlice(value)
	flags := uint32(body[2])
	if wide := attrs[unix.IFA_FLAGS]; len(wide) == 4 {
		flags = binary.NativeEndian.Uint32(wide)
	}
	// One that is optimistic may be used at once (ipv6_chk_addr_and_flags).
	a.Tentative = flags&unix.IFA_F_TENTATIVE != 0 && flags&unix.IFA_F_OPTIMISTIC == 0
	a.Duplicate = flags&unix.IFA_F_DADFAILED != 0
	return int(binary.NativeEndian.Uint32(body[4:])), a, nil
}
