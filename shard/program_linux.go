package shard

import "example.com/reuse/internal/group"

// More instructions, of programs that are translated.
const (
	opJump    = 0x05 // ja k
	opIfEqual = 0x15 // jeq #k, jt, jf
	opReturnK = 0x06 // ret #k
)

// translate returns program, which returns indices of sockets, as one that
// returns their slots.
func translate(program []group.Instruction, slots []int) []group.Instruction {
	same := true
	for i, slot := range slots {
		same = same && i == slot
	}
	if same {
		return program
	}
	// What was returned stays in the accumulator, and the end makes a slot of it.
	out := make([]group.Instruction, len(program), len(program)+2*len(slots)+1)
	for i, in := range program {
		switch {
		case in.Op == opReturn:
			in = group.Instruction{Op: opJump, K: uint32(len(program) - i - 1)}
		case in.Op == opReturnK && in.K < uint32(len(slots)):
			in.K = uint32(slots[in.K])
		}
		out[i] = in
	}
	for i, slot := range slots {
		out = append(out,
			group.Instruction{Op: opIfEqual, K: uint32(i), Jf: 1},
			group.Instruction{Op: opReturnK, K: uint32(slot)})
	}
	return append(out, group.Instruction{Op: opReturn})
}
