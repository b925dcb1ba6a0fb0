package sockfile

import (
	"testing"

	"example.com/reuse/internal/testnet"
)

// TestMain also runs the processes that tests start.
func TestMain(m *testing.M) {
	testnet.Main(m, map[string]func([]string) error{
		"locker":  locker,
		"remover": remover,
	})
}
