package group

import "golang.org/x/sys/unix"

// Refuse makes a TCP listener drop the SYNs that are meant for it: their clients
// send them again after a second. It needs no slot, but CAP_NET_ADMIN on the
// kernels that guard filters of TCP sockets. A listener that has a filter keeps
// it, and that is an error.
//
// Connections inherit the filter, which passes all that they get.
func (s *Socket) Refuse() error {
	const flags, syn, synACK = 13, 0x02, 0x12
	return s.attachFilter([]unix.SockFilter{
		{Code: opLoadByte, K: flags}, // the packet begins with the TCP header (tcp_filter)
		{Code: opAnd, K: synACK},
		{Code: opJeq, K: syn, Jf: 1},
		{Code: opRet, K: 0},
		{Code: opRet, K: passAll},
	})
}

// Admit undoes Refuse.
func (s *Socket) Admit() error { return s.detachFilter() }
