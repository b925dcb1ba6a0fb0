package testnet

// Rounds returns the first number if the tests are [Long], and otherwise the second.
func Rounds(long, short int) int {
	if Long {
		return long
	}
	return short
}

// Times returns n or, unless the tests are [Long], a tenth of it.
func Times(n int) int { return Rounds(n, max(n/10, 1)) }
