// Package shard opens several sockets on one port, in one process, over which the
// kernel spreads connections or datagrams: one for each worker.
//
//	lns, err := shard.Listen("tcp", ":8080", 0)
//	for _, ln := range lns {
//		go srv.Serve(ln)
//	}
//
// The kernel chooses by a hash of the addresses and ports. On Linux it can go by
// the CPU that received a packet instead ([ByCPU]), or by a program of the
// caller's ([Steer]); [ByHash] takes that back.
//
// # When not to
//
// One listener and many goroutines that accept from it share one queue: whoever
// is free takes the next connection. Shards have a queue each, and the kernel
// does not look at how long it is. A worker that is busy keeps the clients of its
// queue waiting while others are idle, and one that is stuck keeps 1/n of them for
// ever. The slowest requests get several times slower if work is uneven, and
// connections that are kept open gain nothing, since they are accepted seldom.
// docs/performance.md has what was measured.
//
// A shard is for many cores of which accepting, or receiving, takes much: short
// connections in great number, and UDP. With UDP every socket has a buffer of its
// own, and ByCPU keeps a packet on the CPU that it arrived at, if the one who
// reads is there, too.
//
// # Systems
//
// Listen and ListenPacket work where [reuse.Balances] is true: on Linux, FreeBSD and
// DragonFly. On FreeBSD it is false at ":8080", since a socket that takes both IPv4
// and IPv6 gets no share there. Open "tcp4" and "tcp6" apart:
//
//	lns4, err := shard.Listen("tcp4", ":8080", 0)
//	lns6, err := shard.Listen("tcp6", ":8080", 0)
//
// ByCPU, Steer and ByHash are Linux's, 5.10 or later. They need sock_diag, by which
// they learn which of the sockets the kernel knows by which number; nothing is sent.
// Elsewhere, and where a sandbox or the kernel lacks that, errors.Is(err,
// errors.ErrUnsupported) holds. Sockets with SO_INCOMING_CPU cannot be told apart.
package shard
