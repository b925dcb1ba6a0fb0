package main

import "time"

// strategyNames are the ways to replace a process, in the order of the table.
var strategyNames = []string{
	"none",        // no restart at all: what the load loses by itself
	"close",       // SO_REUSEPORT, both listen, the old one closes
	"stop-start",  // the old one closes, the new one listens then
	"descriptors", // cloudflare/tableflip: the listener's descriptor is passed on
	"migrate",     // close, with net.ipv4.tcp_migrate_req=1
	"handover",    // package handover
}

// A scenario is a load and what makes it hard.
type scenario struct {
	Name  string
	About string
	Kind  string // of server: "tcp", "http" or "udp"
	Short bool   // part of the short run

	Network, Address string   // of the listener
	Dial             []string // where clients connect to, in turn
	Clients          int      // in flight at once
	KeepAlive        bool     // HTTP
	Pause            time.Duration

	Backlog     int
	AcceptEvery time.Duration // pause of the accept loop after each connection
	DeferAccept bool
	Sysctl      map[string]string

	RoundTrip time.Duration // of the link; 0: loopback
	Loss      float64       // of packets, on the link

	Workers  int  // permanent processes that share the port
	Overlap  bool // all of them are replaced at once
	Shard    int  // sockets of each process; 0: one, and no shard
	Restarts int  // 0: the default

	Habits *habits // see loads

	// Delays says that no connection is slow unless a restart slows it.
	Delays bool
}

// has reports whether a strategy means anything here.
func (s scenario) has(strategy string) bool {
	if s.Habits != nil {
		return strategy == "close" || strategy == "handover" || strategy == "none"
	}
	switch strategy {
	case "migrate":
		return s.Kind != "udp"
	case "descriptors", "stop-start":
		return s.Shard == 0 // they know one socket of an address
	}
	return true
}

// before returns how many requests are to come before the first restart.
func (s scenario) before() int {
	if s.Habits != nil {
		return s.Clients
	}
	return 4 * s.Clients
}

// between returns how many requests are to come between two restarts: enough
// that the new process has all clients, and on a fast link that many are counted.
func (s scenario) between() int {
	if s.Habits != nil {
		return 2 * s.Clients
	}
	if s.RoundTrip > 0 || s.AcceptEvery > 0 || s.Kind == "udp" {
		return 3 * s.Clients
	}
	return max(3*s.Clients, 800)
}

func scenarios() []scenario {
	const port = ":9999"
	loopback := scenario{
		Kind: "tcp", Network: "tcp", Address: "127.0.0.1" + port, Dial: []string{"127.0.0.1" + port},
		Clients: 64, Workers: 1, Delays: true,
	}
	link := loopback
	link.Address, link.Dial = serverIP+port, []string{serverIP + port}

	var all []scenario
	add := func(s scenario, name, about string, change func(*scenario)) {
		s.Name, s.About = name, about
		change(&s)
		all = append(all, s)
	}
	add(loopback, "loopback-64", "64 in flight", func(s *scenario) { s.Short = true })
	add(loopback, "loopback-512", "512 in flight", func(s *scenario) { s.Clients = 512 })
	add(link, "rtt-20", "20 ms round trip, 128 in flight", func(s *scenario) {
		s.RoundTrip, s.Clients = 20*time.Millisecond, 128
	})
	add(link, "rtt-100", "100 ms round trip, 256 in flight", func(s *scenario) {
		s.RoundTrip, s.Clients = 100*time.Millisecond, 256
	})
	add(link, "rtt-20-loss", "the same as rtt-20, 2% of packets lost", func(s *scenario) {
		s.RoundTrip, s.Clients, s.Loss, s.Delays, s.Short = 20*time.Millisecond, 128, 0.02, false, true
	})
	add(link, "rtt-100-loss", "the same as rtt-100, 2% of packets lost", func(s *scenario) {
		s.RoundTrip, s.Clients, s.Loss, s.Delays, s.Restarts = 100*time.Millisecond, 256, 0.02, false, 10
	})
	add(loopback, "slow-accept", "one accept every 2 ms", func(s *scenario) { s.AcceptEvery = 2 * time.Millisecond })
	add(loopback, "backlog-32", "backlog 32, 128 in flight", func(s *scenario) {
		s.Backlog, s.Clients, s.Delays = 32, 128, false
	})
	add(loopback, "syncookies", "net.ipv4.tcp_syncookies=2", func(s *scenario) {
		s.Sysctl = map[string]string{"net/ipv4/tcp_syncookies": "2"}
	})
	add(loopback, "defer-accept", "TCP_DEFER_ACCEPT, clients silent for up to 50 ms", func(s *scenario) {
		s.DeferAccept, s.Pause = true, 50*time.Millisecond
	})
	add(loopback, "ipv6", "[::1]", func(s *scenario) {
		s.Network, s.Address, s.Dial = "tcp6", "[::1]"+port, []string{"[::1]" + port}
	})
	add(loopback, "dual-stack", "[::], both families connect", func(s *scenario) {
		s.Address, s.Dial = port, []string{"127.0.0.1" + port, "[::1]" + port}
	})
	add(loopback, "workers-serial", "4 workers, replaced one by one", func(s *scenario) { s.Workers, s.Restarts = 4, 6 })
	add(loopback, "workers-overlap", "4 workers, replaced all at once", func(s *scenario) {
		s.Workers, s.Restarts, s.Overlap = 4, 6, true
	})
	add(loopback, "http-close", "HTTP, a connection per request", func(s *scenario) { s.Kind = "http" })
	add(loopback, "http-keep-alive", "HTTP, connections kept", func(s *scenario) {
		s.Kind, s.KeepAlive, s.Pause, s.Short = "http", true, 10*time.Millisecond, true
	})
	add(loopback, "udp", "16 clients, 8 datagrams each in flight", func(s *scenario) {
		s.Kind, s.Network, s.Clients, s.Short = "udp", "udp", 16, true
	})
	add(loopback, "shard", "4 listeners in each process, drained at once", func(s *scenario) { s.Shard, s.Short = 4, true })
	add(loopback, "shard-udp", "the same of 3 UDP sockets, [::1]", func(s *scenario) {
		s.Kind, s.Network, s.Clients, s.Shard, s.Short = "udp", "udp6", 16, 3, true
		s.Address, s.Dial = "[::1]"+port, []string{"[::1]" + port}
	})
	return all
}
