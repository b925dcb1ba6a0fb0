package main

import (
	"encoding/binary"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// nobody is an address on the link that no host has: what is sent there gets no answer.
const nobody = "10.99.0.77"

// halfOpen begins a handshake every second, and ends none, until over is closed.
func halfOpen(target string, over <-chan struct{}) error {
	to, err := netip.ParseAddrPort(target)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_HDRINCL, 1); err != nil {
		return os.NewSyscallError("setsockopt IP_HDRINCL", err)
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for port := uint16(20000); ; port++ {
		packet := syn(netip.AddrPortFrom(netip.MustParseAddr(nobody), port), to)
		if err := unix.Sendto(fd, packet, 0, &unix.SockaddrInet4{Addr: to.Addr().As4()}); err != nil {
			return os.NewSyscallError("sendto", err)
		}
		select {
		case <-ticker.C:
		case <-over:
			return nil
		}
	}
}

// syn returns a SYN with its IPv4 header.
func syn(from, to netip.AddrPort) []byte {
	packet := make([]byte, 40)
	packet[0], packet[8], packet[9] = 4<<4|5, 64, unix.IPPROTO_TCP
	copy(packet[12:], from.Addr().AsSlice())
	copy(packet[16:], to.Addr().AsSlice())
	tcp := packet[20:]
	binary.BigEndian.PutUint16(tcp, from.Port())
	binary.BigEndian.PutUint16(tcp[2:], to.Port())
	tcp[12], tcp[13] = 5<<4, 2 // SYN
	binary.BigEndian.PutUint16(tcp[14:], 4096)
	sum := uint32(unix.IPPROTO_TCP) + uint32(len(tcp))
	for _, b := range [][]byte{packet[12:20], tcp} {
		for i := 0; i < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(tcp[16:], ^uint16(sum))
	return packet
}
