package group

import "slices"

// Classes, modes and operations of include/uapi/linux/{bpf_common,filter}.h.
const (
	opLoad        = 0x00 // ld #k
	opLoadWord    = 0x20 // ld [k]
	opLoadHalf    = 0x28 // ldh [k]
	opLoadByte    = 0x30 // ldb [k]
	opLoadScratch = 0x60 // ld M[k]
	opStore       = 0x02 // st M[k]
	opLoadX       = 0x61 // ldx M[k]
	opAdd         = 0x04 // add #k
	opAddX        = 0x0c // add x
	opMul         = 0x24 // mul #k
	opXorX        = 0xac // xor x
	opAnd         = 0x54 // and #k
	opTax         = 0x07 // tax
	opRsh         = 0x74 // rsh #k
	opMod         = 0x94 // mod #k
	opJa          = 0x05 // ja k
	opJeq         = 0x15 // jeq #k, jt, jf
	opJge         = 0x35 // jge #k, jt, jf
	opRet         = 0x06 // ret #k
	opRetA        = 0x16 // ret a
)

// skfNet is where the network header begins: SKF_NET_OFF.
const skfNet = 0xfff00000

// A Steering is a program that chooses one of N members by the addresses and
// ports of a packet, which are the same for all packets of one connection. It
// never chooses those in Not, if there are others.
//
// Packets of the ports in To, which are remote ones, go to the slot given there.
type Steering struct {
	N   int
	Not []int
	To  []PortSlot
}

// A PortSlot says which slot packets from a remote port go to.
type PortSlot struct {
	Port uint16
	Slot int
}

// Program returns the instructions.
//
// The kernel lets the program begin behind the transport header, and run before
// it knows whether the packet is whole; a load beyond its end returns slot 0.
// Everything that is loaded here is there in every packet that gets so far.
func (s Steering) Program() []Instruction {
	not := slices.Compact(slices.Sorted(slices.Values(s.Not)))
	p := flow()
	if len(s.To) > 0 {
		// M[0] is the flow's hash, M[1] its ports, source in the high half.
		p = append(p, Instruction{Op: opLoadScratch, K: 1}, Instruction{Op: opRsh, K: 16})
		for _, to := range s.To {
			p = append(p,
				Instruction{Op: opJeq, K: uint32(to.Port), Jf: 1},
				Instruction{Op: opRet, K: uint32(to.Slot)})
		}
	}
	p = append(p,
		Instruction{Op: opLoadScratch, K: 0},
		Instruction{Op: opMod, K: uint32(max(s.N-len(not), 1))})
	for _, slot := range not { // ascending, so that each skips one more
		p = append(p,
			Instruction{Op: opJge, K: uint32(slot), Jf: 1},
			Instruction{Op: opAdd, K: 1})
	}
	return append(p, Instruction{Op: opRetA})
}

// Only returns the program that chooses slot for every packet.
func Only(slot int) []Instruction { return []Instruction{{Op: opRet, K: uint32(slot)}} }

// flow returns instructions that leave a hash of the flow in M[0] and the two
// ports in M[1]. The ports count as 0 if the IP header has options or
// extensions: that spreads less evenly, and a probe has none.
func flow() []Instruction {
	const (
		v4Source, v4Ports = skfNet + 12, skfNet + 20
		v6Next, v6Ports   = skfNet + 6, skfNet + 40
		tcp, udp          = 6, 17
	)
	v4 := []Instruction{
		{Op: opLoadWord, K: v4Source},
		{Op: opStore, K: 0},
		{Op: opLoadByte, K: skfNet},
		{Op: opJeq, K: 0x45, Jf: 2},
		{Op: opLoadWord, K: v4Ports},
		{Op: opStore, K: 1},
	}
	// A jump over v6. M[1] is 0 from the beginning.
	v6 := []Instruction{
		{Op: opLoadWord, K: skfNet + 8},
	}
	for word := uint32(12); word <= 20; word += 4 {
		v6 = append(v6,
			Instruction{Op: opStore, K: 0},
			Instruction{Op: opLoadX, K: 0},
			Instruction{Op: opLoadWord, K: skfNet + word},
			Instruction{Op: opAddX})
	}
	v6 = append(v6,
		Instruction{Op: opStore, K: 0},
		Instruction{Op: opLoadByte, K: v6Next},
		Instruction{Op: opJeq, K: tcp, Jt: 1},
		Instruction{Op: opJeq, K: udp, Jf: 2},
		Instruction{Op: opLoadWord, K: v6Ports},
		Instruction{Op: opStore, K: 1})

	p := []Instruction{
		{Op: 0x00},          // ld #0
		{Op: opStore, K: 1}, // no ports yet
		{Op: opLoadByte, K: skfNet},
		{Op: opRsh, K: 4},
		{Op: opJeq, K: 6, Jf: uint8(len(v6) + 1)},
	}
	p = append(p, v6...)
	p = append(p, Instruction{Op: opJa, K: uint32(len(v4))})
	p = append(p, v4...)
	// Two rounds of multiplying, by numbers without a pattern, and folding the
	// high half onto the low one (MurmurHash3's finalizer).
	fold := func(multiplier uint32) []Instruction {
		return []Instruction{
			{Op: opMul, K: multiplier},
			{Op: opTax},
			{Op: opRsh, K: 16},
			{Op: opXorX},
		}
	}
	p = append(p,
		Instruction{Op: opLoadScratch, K: 0},
		Instruction{Op: opMul, K: 0x9e3779b1},
		Instruction{Op: opTax},
		Instruction{Op: opLoadScratch, K: 1},
		Instruction{Op: opAddX})
	p = append(p, fold(0x85ebca6b)...)
	p = append(p, fold(0xc2b2ae35)...)
	return append(p,
		Instruction{Op: opRsh, K: 8},
		Instruction{Op: opStore, K: 0})
}
