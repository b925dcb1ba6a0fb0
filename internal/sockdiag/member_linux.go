package sockdiag

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const attrSockopt = 22 // INET_DIAG_SOCKOPT, a struct inet_diag_sockopt

// A Member is a socket with an option that its owner can set and everybody can
// see: IP_RECVERR_RFC4884, which means nothing without IP_RECVERR.
type Member struct {
	Socket
	MarkKnown bool // Mark is the socket's; older kernels do not tell
	Mark      bool // IP_RECVERR_RFC4884
}

// Members is [Conn.Sockets] of one family, with the mark.
func (c *Conn) Members(ctx context.Context, r Request) ([]Member, error) {
	body := make([]byte, sizeInetRequest)
	body[0], body[1] = r.Family, r.Protocol
	binary.NativeEndian.PutUint32(body[4:], uint32(r.States))
	binary.BigEndian.PutUint16(body[8:], r.LocalPort)
	var members []Member
	err := c.ask(ctx, unix.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP, body, func(body reader) error {
		m := Member{}
		var err error
		if m.Socket, err = parseInet(body, r.Protocol); err != nil {
			return err
		}
		if r.LocalPort == 0 || r.LocalPort == m.Local.Port() {
			m.MarkKnown, m.Mark = parseMark(body)
			members = append(members, m)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("sock_diag dump of protocol %d, family %d: %w", r.Protocol, r.Family, err)
	}
	return members, nil
}

// parseMark reads recverr_rfc4884, the second bit of the second byte of struct
// inet_diag_sockopt. Bit fields begin at the lowest bit on little-endian systems
// and at the highest on others.
func parseMark(r reader) (known, mark bool) {
	r.bytes(sizeInetSocket)
	second := byte(0x40)
	if r.order.Uint16([]byte{1, 0}) == 1 {
		second = 0x02
	}
	r.attributes(func(kind uint16, value reader) {
		if kind == attrSockopt && len(value.data) >= 2 {
			known, mark = true, value.data[1]&second != 0
		}
	})
	return known, mark
}

// Pending reports whether the handshake of a socket that Sockets returned in
// state SynRecv is still under way. It goes by the addresses. Where the handshake
// has ended there is a connection instead, or the look-up finds the listener, or
// nothing.
func (c *Conn) Pending(ctx context.Context, s Socket) (bool, error) {
	s.Cookie = 1<<64 - 1 // INET_DIAG_NOCOOKIE, twice
	now, err := c.Lookup(ctx, s)
	if Gone(err) {
		return false, nil
	}
	return now.State == SynRecv || now.State == NewSynRecv, err
}

// Gone reports whether a look-up failed because there is no such socket.
func Gone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESTALE) }
