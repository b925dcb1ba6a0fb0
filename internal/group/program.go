package group

import "slices"

// An Instruction of classic BPF: struct sock_filter.
type Instruction struct {
	Op     uint16
	Jt, Jf uint8
	K      uint32
}

// Classes, modes and operations of include/uapi/linux/{bpf_common,filter}.h.
const (
	opLoad        = 0x00 // ld #k
	opLoadWord    = 0x20 // ld [k]
	opLoadByte    = 0x30 // ldb [k]
	opLoadScratch = 0x60 // ld M[k]
	opStore       = 0x02 // st M[k]
	opLoadX       = 0x61 // ldx M[k]
	opAdd         = 0x04 // add #k
	opAddX        = 0x0c // add x
	opMul         = 0x24 // mul #k
	opDiv         = 0x34 // div #k
	opMod         = 0x94 // mod #k
	opXorX        = 0xac // xor x
	opTax         = 0x07 // tax
	opRsh         = 0x74 // rsh #k
	opJump        = 0x05 // ja k
	opIfEqual     = 0x15 // jeq #k, jt, jf
	opIfAtLeast   = 0x35 // jge #k, jt, jf
	opReturn      = 0x06 // ret #k
	opReturnA     = 0x16 // ret a
)

// MaxInstructions is how long a program can be: BPF_MAXINSNS.
const MaxInstructions = 4096

// Where what is not in the packet is loaded from.
const (
	offsetNet = 0xfff00000      // SKF_NET_OFF: the IP header
	offsetCPU = 0xfffff000 + 36 // SKF_AD_OFF + SKF_AD_CPU
)

// ByCPU returns the program that chooses slot cpu % n.
func ByCPU(n int) []Instruction {
	return []Instruction{{Op: opLoadWord, K: offsetCPU}, {Op: opMod, K: uint32(n)}, {Op: opReturnA}}
}

// Among returns a program that chooses one of slots by the addresses and ports of
// a packet, which are the same for all packets of one connection. Of slots that are
// scattered over more than a program has room for, it chooses among the first.
//
// The kernel lets the program begin behind the transport header, and run before
// it knows whether the packet is whole; a load beyond its end returns slot 0.
// Everything that is loaded here is there in every packet that gets so far.
func Among(slots []int) []Instruction {
	if len(slots) == 1 {
		return []Instruction{{Op: opReturn, K: uint32(slots[0])}}
	}
	return append(flow(), among(slots)...)
}

// Share returns the program that gives one slot the given share of all flows, in
// thousandths, and the rest to those in slots.
func Share(slot, share int, slots []int) []Instruction {
	p := append(flow(),
		Instruction{Op: opMod, K: 1000},
		Instruction{Op: opIfAtLeast, K: uint32(share), Jt: 1},
		Instruction{Op: opReturn, K: uint32(slot)},
		Instruction{Op: opLoadScratch},
		Instruction{Op: opDiv, K: 1000})
	return append(p, among(slots)...)
}

// among returns instructions that choose one of slots by the accumulator.
func among(slots []int) []Instruction {
	// Gaps between slots, of two instructions each. Older kernels than 6.7 have room
	// for some 2,500 (sk_reuseport_attach_filter, optmem_max).
	const most = 1024
	slots = slices.Compact(slices.Sorted(slices.Values(slots)))
	var gaps []Instruction
	next, total := 0, 0
	for _, slot := range slots {
		if slot > next {
			if len(gaps) == 2*most {
				break
			}
			// Ascending, so that each skips what those before it have moved.
			gaps = append(gaps,
				Instruction{Op: opIfAtLeast, K: uint32(next), Jf: 1},
				Instruction{Op: opAdd, K: uint32(slot - next)})
		}
		next, total = slot+1, total+1
	}
	p := append([]Instruction{{Op: opMod, K: uint32(max(total, 1))}}, gaps...)
	return append(p, Instruction{Op: opReturnA})
}

// flow returns instructions that leave a hash of the flow, of 24 bits, in the
// accumulator and in M[0]. The ports count as 0 if the IP header has options or
// extensions: that spreads less evenly.
func flow() []Instruction {
	const (
		v4Source, v4Ports = offsetNet + 12, offsetNet + 20
		v6Next, v6Ports   = offsetNet + 6, offsetNet + 40
		tcp, udp          = 6, 17
	)
	// M[0] is the source, M[1] the ports.
	v4 := []Instruction{
		{Op: opLoadWord, K: v4Source},
		{Op: opStore, K: 0},
		{Op: opLoadByte, K: offsetNet},
		{Op: opIfEqual, K: 0x45, Jf: 2},
		{Op: opLoadWord, K: v4Ports},
		{Op: opStore, K: 1},
	}
	v6 := []Instruction{
		{Op: opLoadWord, K: offsetNet + 8},
	}
	for word := uint32(12); word <= 20; word += 4 {
		v6 = append(v6,
			Instruction{Op: opStore, K: 0},
			Instruction{Op: opLoadX, K: 0},
			Instruction{Op: opLoadWord, K: offsetNet + word},
			Instruction{Op: opAddX})
	}
	v6 = append(v6,
		Instruction{Op: opStore, K: 0},
		Instruction{Op: opLoadByte, K: v6Next},
		Instruction{Op: opIfEqual, K: tcp, Jt: 1},
		Instruction{Op: opIfEqual, K: udp, Jf: 2},
		Instruction{Op: opLoadWord, K: v6Ports},
		Instruction{Op: opStore, K: 1})

	p := []Instruction{
		{Op: opLoad},
		{Op: opStore, K: 1}, // no ports yet
		{Op: opLoadByte, K: offsetNet},
		{Op: opRsh, K: 4},
		{Op: opIfEqual, K: 6, Jf: uint8(len(v6) + 1)},
	}
	p = append(p, v6...)
	p = append(p, Instruction{Op: opJump, K: uint32(len(v4))})
	p = append(p, v4...)
	// Every bit of what goes in changes about half of those that come out
	// (MurmurHash3's finalizer).
	fold := func(shift uint32) []Instruction {
		return []Instruction{{Op: opTax}, {Op: opRsh, K: shift}, {Op: opXorX}}
	}
	p = append(p,
		Instruction{Op: opLoadScratch, K: 0},
		Instruction{Op: opMul, K: 0x9e3779b1},
		Instruction{Op: opTax},
		Instruction{Op: opLoadScratch, K: 1},
		Instruction{Op: opAddX})
	p = append(p, fold(16)...)
	p = append(p, Instruction{Op: opMul, K: 0x85ebca6b})
	p = append(p, fold(13)...)
	p = append(p, Instruction{Op: opMul, K: 0xc2b2ae35})
	p = append(p, fold(16)...)
	return append(p,
		Instruction{Op: opRsh, K: 8},
		Instruction{Op: opStore, K: 0})
}

// Translate returns a program that returns indices of sockets as one that returns
// their slots.
func Translate(program []Instruction, slots []int) []Instruction {
	same := true
	for i, slot := range slots {
		same = same && i == slot
	}
	if same {
		return program
	}
	// What was returned stays in the accumulator, and the end makes a slot of it.
	out := make([]Instruction, len(program), len(program)+2*len(slots)+1)
	for i, in := range program {
		switch {
		case in.Op == opReturnA:
			in = Instruction{Op: opJump, K: uint32(len(program) - i - 1)}
		case in.Op == opReturn && in.K < uint32(len(slots)):
			in.K = uint32(slots[in.K])
		}
		out[i] = in
	}
	for i, slot := range slots {
		out = append(out,
			Instruction{Op: opIfEqual, K: uint32(i), Jf: 1},
			Instruction{Op: opReturn, K: uint32(slot)})
	}
	return append(out, Instruction{Op: opReturnA})
}
