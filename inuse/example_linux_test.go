package inuse_test

import (
	"errors"
	"fmt"
	"log"
	"net"

	"example.com/reuse"
	"example.com/reuse/inuse"
)

// Who holds the port: here it is this very process.
func ExampleExplain() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()

	_, err = reuse.Listen("tcp", ln.Addr().String())
	err = inuse.Explain(err) // print it, or take it apart:
	var inUse *inuse.Error
	if errors.As(err, &inUse) {
		fmt.Println(inUse.Cause)
		fmt.Println(inUse.Holders[0].State, len(inUse.Holders[0].Processes))
		fmt.Println(inUse.Remedies[0].Text)
	}
	// Output:
	// self
	// LISTEN 1
	// close that one first
}
