package reuse

// Also illumos, which lacks SO_REUSEPORT. Solaris has it since 11.4, but package
// unix does not.
const (
	supported = Addr

	portOption = -1 // not reached: Mode.check refuses Port
	portName   = "SO_REUSEPORT"
)

func balances(dual bool) bool { return false }
