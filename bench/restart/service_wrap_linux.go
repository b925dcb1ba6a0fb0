package main

import (
	"fmt"
	"net"
	"time"

	"github.com/pires/go-proxyproto"
	"golang.org/x/net/netutil"
)

// Wrappers of listeners.
const (
	wrapLimit  = "limit"
	wrapProxy  = "proxy"
	wrapFilter = "filter"
)

// wrap wraps a listener as a scenario's server does.
func wrap(h habits, ln net.Listener) (net.Listener, error) {
	switch h.Wrap {
	case "":
		return ln, nil
	case wrapLimit:
		return netutil.LimitListener(ln, h.Limit), nil
	case wrapProxy:
		return &proxyproto.Listener{Listener: ln, ReadHeaderTimeout: 10 * time.Second}, nil
	case wrapFilter:
		return &filter{ln}, nil
	}
	return nil, fmt.Errorf("no wrapper %q", h.Wrap)
}

// unwanted is the address of clients that the filter refuses.
var unwanted = net.IPv4(127, 0, 0, 66)

// A filter closes connections from an address.
type filter struct{ net.Listener }

func (f *filter) Accept() (net.Conn, error) {
	for {
		conn, err := f.Listener.Accept()
		if err != nil || !conn.RemoteAddr().(*net.TCPAddr).IP.Equal(unwanted) {
			return conn, err
		}
		conn.Close()
	}
}
