package inuse

import (
	"fmt"
	"net"
	"strings"
)

// subject returns what is asked about, such as "Port 8080 on 127.0.0.1", to begin a
// sentence.
func (a attempt) subject() string {
	if a.path != "" {
		return printable(a.name())
	}
	s := map[bool]string{false: "Port ", true: "UDP port "}[strings.HasPrefix(a.network, "udp")] + fmt.Sprint(a.local.Port())
	if on := a.on(); on != "" {
		s += " on " + on
	}
	return s
}

// on returns the host, address or IP version that is asked about, or "".
func (a attempt) on() string {
	addr := a.local.Addr()
	switch {
	case a.host != "":
		return printable(a.host)
	case addr.IsValid() && !addr.IsUnspecified():
		return printable(addr.String())
	case strings.HasSuffix(a.network, "6"):
		return "IPv6"
	case strings.HasSuffix(a.network, "4"), addr.Is4():
		return "IPv4"
	}
	return ""
}

// name returns the path, with an @ if it is abstract.
func (a attempt) name() string {
	if rest, ok := strings.CutPrefix(a.path, "\x00"); ok {
		return "@" + rest
	}
	return a.path
}

// ask returns how whyinuse is asked about a.
func (a attempt) ask() string {
	if a.path != "" {
		if strings.ContainsAny(a.path[:1], "/@\x00") || strings.HasPrefix(a.path, "./") || strings.HasPrefix(a.path, "../") {
			return a.name()
		}
		return "./" + a.path
	}
	s := fmt.Sprint(a.local.Port())
	addr := a.local.Addr()
	switch {
	case a.host != "":
		s = a.host + ":" + s
	case addr.IsValid() && (!addr.IsUnspecified() || addr.Is4()):
		s = net.JoinHostPort(addr.String(), s)
	}
	if a.network != "tcp" {
		s = a.network + ":" + s
	}
	return s
}
