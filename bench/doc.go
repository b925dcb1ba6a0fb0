// Package bench measures package reuse against package net and against other
// packages that open listeners with SO_REUSEPORT. It has tests and benchmarks
// only, and is a module of its own to keep what it imports out of package
// reuse's requirements.
//
//	cd bench
//	go test -race ./...
//	go test -run '^$' -bench . -benchmem
//
// # What the tests establish
//
// TestConn runs the conformance suite of golang.org/x/net/nettest on
// connections that listeners of package reuse accept, and for comparison on
// those of net.Listen. TestBrokenConn shows that the suite can fail.
//
// TestCounts holds package reuse to bounds for system calls and allocations, and
// Addr.Listen to what net.Listen takes in the same run and the four calls by which
// TestAcceptCounts finds every connection cheaper. A hook with three more system
// calls shows that the counter counts.
//
// TestRestart and TestLoads are short runs of the command restart, which replaces
// server processes under load. With package handover nothing is lost, and what
// HTTPServer's Shutdown returns is what clients lost; with http.Server's something is.
//
// # What the benchmarks measure
//
// BenchmarkListen and BenchmarkListenPacket open and close a socket on a fixed,
// free port of 127.0.0.1. One operation is both. Besides time and allocations
// they report the exact number of system calls, as "syscalls/op". Addr-taken is
// what Addr.ListenPacket does if another socket has the port.
//
// BenchmarkLeftovers opens and closes a listener on a port that 9,000
// connections of a former listener still hold, in turn with one on a port that
// has none. It reports the medians of both times, and the median, as
// "times-none", and the quartiles of the quotients of neighboring operations. 1,000
// leftovers likewise.
//
// BenchmarkAccept takes the CPU time of Accept from a queue of 1,000
// connections, in turn with that of net.Listen, and reports the quotients.
//
// BenchmarkHTTP takes the CPU time of requests to a handover.HTTPServer, in turn with
// that of requests to an http.Server, and reports the quotients. TestHTTPAllocations
// holds it to the allocations of an http.Server. TestHTTPWrapped, TestHTTPWebSocket and
// TestHTTP2OfXNet stop it behind the listeners of other packages, with their
// WebSockets and with their HTTP/2.
//
// BenchmarkSteer takes the CPU time of a datagram to a shard with a program, in
// turn with that of one without. BenchmarkQueues takes the time that connections
// take to be answered by a shard of eight workers, in turn with eight that share a
// queue; BenchmarkStopped counts the clients of one worker that is stuck, and
// BenchmarkBalance what each of eight listeners gets. TestSteerVM compares the
// kernel's choice with that of the virtual machine of golang.org/x/net/bpf.
//
// The command report runs all of them, and writes docs/performance.md.
//
// BenchmarkWhyInUse takes the CPU time of the whyinuse command, of ss and of lsof
// in turn, on a host with 3,000 connections and, with the flag -large, with
// 102,000. It reports medians and quartiles, and as "times-ss" what part of that
// of ss whyinuse takes.
//
// # What they need
//
// Linux, and network namespaces: root's right, or that of a user who runs
//
//	unshare --user --map-root-user go test -bench . -benchmem
//
// System calls are counted with strace, and the leftovers take 18,000 open
// files. Where something is missing, tests and benchmarks are skipped and say
// what it is; a benchmark without strace just omits the count. All traffic
// stays on loopback.
package bench
