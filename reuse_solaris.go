package reuse

// Also illumos. Neither has SO_REUSEPORT in all supported releases.
const (
	supported = Addr
	balances  = false

	portOption = -1 // not reached: Mode.check refuses Port
	portName   = "SO_REUSEPORT"
)
