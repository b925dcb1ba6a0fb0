package inuse

type passes struct{ addr, port bool }
