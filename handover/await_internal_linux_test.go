package handover

import (
	"errors"
	"testing"
	"time"
)

// A successor that never accepts is not waited for without end.
func TestAwaitEnds(t *testing.T) {
	if comeTime != 30*time.Second {
		t.Errorf("comeTime is %v, and documented as 30 seconds", comeTime)
	}
	old := listenOwn(t, "127.0.0.1:0")
	if err := old.Drain(t.Context()); errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("needs what TestUnsupportedSystem is about: %v", err)
	}
	next, err := Listen("tcp4", old.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	s := &set{members: old.members()}
	defer s.end()
	if err := s.await(t.Context(), time.Millisecond); !errors.Is(err, errComing) || !errors.Is(err, ErrNoSuccessor) {
		t.Errorf("%v, want ErrNoSuccessor yet", err)
	}
	if err := next.listen(); err != nil {
		t.Fatal(err)
	}
	if err := s.await(t.Context(), time.Millisecond); err != nil {
		t.Errorf("control: it listens: %v", err)
	}
}
