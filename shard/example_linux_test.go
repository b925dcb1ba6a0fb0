package shard_test

import (
	"fmt"
	"log"
	"net"

	"example.com/reuse/shard"
)

// Four listeners on one port, whose number the kernel chooses.
func ExampleListen() {
	lns, err := shard.Listen("tcp", "127.0.0.1:0", 4)
	if err != nil {
		log.Fatal(err)
	}
	for _, ln := range lns {
		defer ln.Close()
	}
	fmt.Println(len(lns), lns[0].Addr().String() == lns[3].Addr().String())
	// Output: 4 true
}

// Datagrams go by their first byte.
func ExampleSteer() {
	socks, err := shard.ListenPacket("udp", "127.0.0.1:0", 2)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range socks {
		defer s.Close()
	}
	// What bpf.Assemble of golang.org/x/net/bpf makes of
	// LoadAbsolute{Off: 0, Size: 1}, ALUOpConstant{Op: ALUOpMod, Val: 2}, RetA{}.
	type instruction struct {
		Op     uint16
		Jt, Jf uint8
		K      uint32
	}
	err = shard.Steer(socks, []instruction{{Op: 0x30}, {Op: 0x94, K: 2}, {Op: 0x16}})
	if err != nil {
		log.Fatal(err)
	}
	client, err := net.Dial("udp", socks[0].LocalAddr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	for _, message := range []string{"a is odd", "b is even"} {
		fmt.Fprint(client, message)
	}
	for _, s := range socks {
		buf := make([]byte, 100)
		n, err := s.Read(buf)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", buf[:n])
	}
	// Output:
	// b is even
	// a is odd
}
