package group

// Share marks s, whose claim another socket of the same owner has: so it lasts
// until both have released it, or are closed.
func (s *Socket) Share() error { return s.mark(1) }
