package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The link's two ends.
const (
	clientIP = "10.99.0.1"
	serverIP = "10.99.0.2"
)

// connect joins two namespaces by a link that delays and loses packets. It is
// the program's own, since not every kernel has netem.
func connect(client, server *space, roundTrip time.Duration, loss float64, seed uint64) error {
	a, err := client.tun(clientIP)
	if err != nil {
		return err
	}
	b, err := server.tun(serverIP)
	if err != nil {
		return err
	}
	go forward(a, b, roundTrip/2, loss, rand.New(rand.NewPCG(seed, 1)))
	go forward(b, a, roundTrip/2, loss, rand.New(rand.NewPCG(seed, 2)))
	return nil
}

// tun opens a TUN device with an address in the namespace.
func (s *space) tun(addr string) (f *os.File, err error) {
	err = s.do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("/dev/net/tun: %w", err)
		}
		const name = "link0"
		ifreq, err := unix.NewIfreq(name)
		if err == nil {
			ifreq.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifreq)
		}
		if err != nil {
			unix.Close(fd)
			return fmt.Errorf("TUNSETIFF: %w", err)
		}
		f = os.NewFile(uintptr(fd), "/dev/net/tun")
		return interfaceUp(name, netip.MustParseAddr(addr))
	})
	return f, err
}

// forward carries packets from one device to the other until one is closed.
func forward(from, to *os.File, delay time.Duration, loss float64, random *rand.Rand) {
	type packet struct {
		due  time.Time
		data []byte
	}
	packets := make(chan packet, 1<<16)
	go func() {
		for p := range packets {
			time.Sleep(time.Until(p.due))
			to.Write(p.data) // what does not fit is lost, as on any link
		}
	}()
	defer close(packets)
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil || random.Float64() < loss {
			continue
		}
		packets <- packet{time.Now().Add(delay), append([]byte(nil), buf[:n]...)}
	}
}
