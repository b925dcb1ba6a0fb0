package inuse

func program() string            { return "" }
func username(uid uint32) string { return map[uint32]string{1000: "alice"}[uid] }

type passes struct{ addr, port bool }
