//go:build aix || darwin || dragonfly || freebsd || linux || netbsd || openbsd

package reuse_test

import (
	"fmt"
	"log"

	"example.com/reuse"
)

// A new process listens while the old one still does.
func ExampleMode_Listen() {
	former, err := reuse.Port.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err) // errors.ErrUnsupported on Windows, for one
	}
	defer former.Close()

	// In the new process. The old one has to have used Port, too.
	ln, err := reuse.Port.Listen("tcp", former.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	fmt.Println("on one port:", ln.Addr().String() == former.Addr().String())
	// Output: on one port: true
}
