package main

import (
	"net"
	"os"
)

// inheritedFD is the descriptor of a socket that all servers have. It is the number of
// systemd's first one, too.
const inheritedFD = 3

// openInherited opens that socket.
func openInherited(s *space, c scenario) (file *os.File, err error) {
	err = s.do(func() error {
		ln, err := net.Listen(c.Network, c.Address)
		if err != nil {
			return err
		}
		defer ln.Close()
		file, err = ln.(*net.TCPListener).File()
		return err
	})
	return file, err
}

// inherited returns it in a server.
func inherited(string, string) (net.Listener, error) {
	file := os.NewFile(inheritedFD, "listener")
	defer file.Close()
	return net.FileListener(file)
}
