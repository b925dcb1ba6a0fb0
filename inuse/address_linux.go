package inuse

// notAvailable explains EADDRNOTAVAIL of bind.
func (a attempt) notAvailable() *Error {
	if e := a.tentative(); e != nil {
		return e
	}
	return a.notLocal()
}

// tentative explains EADDRNOTAVAIL of an IPv6 address that an interface has, but
// may not use until duplicate address detection has passed.
func (a attempt) tentative() *Error {
	flags, ok := proc.AddressFlags(a.local.Addr())
	const tentative, failed = 0x40, 0x08 // IFA_F_TENTATIVE, IFA_F_DADFAILED
	switch {
	case !ok:
		return nil
	case flags&failed != 0:
		return a.because(CauseNotLocal, "another host on the link has the address: duplicate address detection failed")
	case flags&tentative != 0:
		return a.because(CauseNotLocal, "try again in some seconds: duplicate address detection is under way")
	}
	return nil
}
