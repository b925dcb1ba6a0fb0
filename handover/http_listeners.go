package handover

import (
	"errors"
	"fmt"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Shared marks a listener whose socket other processes have open as well: one of
// systemd's, or one that a parent has passed on. [HTTPServer.Shutdown] stops
// accepting from it, and leaves the connections in its queue to the others. The
// listener, or one that it wraps, has a method SetDeadline.
func Shared(ln net.Listener) net.Listener { return newStoppable(ln) }

// A stoppable is a listener that can be stopped: Accept waits until Close then. An
// accept loop that ended would pass for a failure.
type stoppable struct {
	net.Listener
	handed  handed
	stopped atomic.Bool
	closing sync.Once
	done    chan struct{}
}

func newStoppable(ln net.Listener) *stoppable {
	return &stoppable{Listener: ln, done: make(chan struct{})}
}

func (l *stoppable) Accept() (net.Conn, error) {
	c, err := acceptNoted(&l.handed, l.Listener.Accept)
	if err != nil {
		if l.stopped.Load() {
			<-l.done
		}
		return nil, err
	}
	if !reflect.ValueOf(c).Comparable() {
		c = &struct{ net.Conn }{c} // to be a key
	}
	return c, nil
}

func (l *stoppable) Close() error {
	l.closing.Do(func() { close(l.done) })
	err := l.Listener.Close()
	if l.stopped.Load() && errors.Is(err, net.ErrClosed) {
		return nil // by Shutdown
	}
	return err
}

// stop makes Accept wait, without closing the socket.
func (l *stoppable) stop() error {
	l.stopped.Store(true)
	return l.deadliner().SetDeadline(time.Unix(1, 0))
}

type deadliner interface{ SetDeadline(time.Time) error }

// deadliner returns what of the listener has a deadline, or nil.
func (l *stoppable) deadliner() deadliner {
	d, _ := findListener(l.Listener, func(ln net.Listener) (d deadliner, ok bool) {
		d, ok = ln.(deadliner)
		return d, ok
	})
	return d
}

// A gate is a listener that the server serves.
type gate struct {
	*stoppable
	// What Shutdown has to stop: a *Listener, a *stoppable of Shared, or one of
	// package net.
	root net.Listener
	// What the root was before New adopted it, and why it could not.
	found   net.Listener
	adopted error
}

// newGate finds out what is below ln. A listener of package net with SO_REUSEPORT
// is adopted, unless one of others has done so.
func newGate(ln net.Listener, others []*gate) (*gate, error) {
	root, ok := findListener(ln, func(ln net.Listener) (net.Listener, bool) {
		switch ln.(type) {
		case *Listener, *stoppable, *net.TCPListener, *net.UnixListener:
			return ln, true
		}
		return nil, false
	})
	if !ok {
		return nil, fmt.Errorf("handover: Serve cannot find the listener that a %T wraps: it needs an exported field Listener or a method Unwrap() net.Listener; or wrap it by Shared", ln)
	}
	if shared, ok := root.(*stoppable); ok && shared.deadliner() == nil {
		return nil, fmt.Errorf("handover: Serve could not stop a shared %T: it has no method SetDeadline", shared.Listener)
	}
	g := &gate{root: root, found: root}
	if err := g.adopt(others); err != nil {
		return nil, err
	}
	if ln == g.found {
		ln = g.root
	}
	g.stoppable = newStoppable(ln)
	g.accepted().watched.Store(true)
	return g, nil
}

func (g *gate) adopt(others []*gate) error {
	switch g.root.(type) {
	case *Listener, *stoppable:
		return nil
	}
	for _, other := range others {
		if other.found == g.found {
			g.root, g.adopted = other.root, other.adopted
			return nil
		}
	}
	adopted, err := New(g.root)
	switch {
	case err == nil:
		g.root = adopted
	case errors.Is(err, errors.ErrUnsupported):
		g.adopted = err
	default:
		return err
	}
	return nil
}

// accepted returns what knows the connections that were accepted from the root.
func (g *gate) accepted() *handed {
	switch root := g.root.(type) {
	case *Listener:
		return &root.handed
	case *stoppable:
		return &root.handed
	}
	return &g.handed
}

func (g *gate) closed() bool {
	select {
	case <-g.done:
		return true
	default:
		return false
	}
}

// findListener returns the first listener, of ln and those that it wraps, that is what the
// caller looks for.
func findListener[T any](ln net.Listener, is func(net.Listener) (T, bool)) (found T, ok bool) {
	for ln != nil {
		if found, ok := is(ln); ok {
			return found, true
		}
		if w, ok := ln.(interface{ Unwrap() net.Listener }); ok {
			ln = w.Unwrap()
		} else {
			ln, _ = exportedField[net.Listener](ln, "Listener")
		}
	}
	return found, false
}

// rawConn returns the connection of package net below wrappers, or nil.
func rawConn(c net.Conn) syscall.Conn {
	for c != nil {
		switch w := c.(type) {
		case *net.TCPConn:
			return w
		case *net.UnixConn:
			return w
		case interface{ NetConn() net.Conn }: // *tls.Conn
			c = w.NetConn()
		case interface{ Raw() net.Conn }: // go-proxyproto
			c = w.Raw()
		default:
			c, _ = exportedField[net.Conn](c, "Conn")
		}
	}
	return nil
}

// exportedField returns an exported field of a struct that outer is, or points to.
func exportedField[T any](outer any, name string) (inner T, ok bool) {
	v := reflect.Indirect(reflect.ValueOf(outer))
	if v.Kind() != reflect.Struct {
		return inner, false
	}
	f, ok := v.Type().FieldByName(name)
	if !ok || !f.IsExported() {
		return inner, false
	}
	value, err := v.FieldByIndexErr(f.Index)
	if err != nil || !value.CanInterface() {
		return inner, false
	}
	inner, ok = value.Interface().(T)
	return inner, ok
}
