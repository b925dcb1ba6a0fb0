package main

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A load is many clients that ask without end.
type load struct {
	counter *counter
	losses  *ledger
	stopped atomic.Bool
	over    chan struct{} // closed when stopped
	clients sync.WaitGroup
	beside  sync.WaitGroup // what is not counted
	python  func()         // stops those of Python
}

// startLoad starts a scenario's clients. What a client does when a request is
// lost is to pause, as a client that comes again would.
func startLoad(s scenario, seed uint64) (*load, error) {
	l := &load{counter: newCounter(), losses: newLedger(), over: make(chan struct{})}
	if s.Habits != nil {
		return l, l.startHabits(s, seed)
	}
	for i := range s.Clients {
		c := l.client(s, seed, i)
		ask := c.tcp
		switch s.Kind {
		case "udp":
			ask = c.udp
		case "http":
			ask = c.http
		}
		l.clients.Go(func() { l.loop(ask, c.close) })
	}
	return l, nil
}

func (l *load) client(s scenario, seed uint64, i int) *client {
	return &client{
		load: l, scenario: s, dial: s.Dial[i%len(s.Dial)],
		random: rand.New(rand.NewPCG(seed, uint64(i))),
	}
}

// loop asks until the load is stopped, and once more: a client that was not told of
// the last restart notices then.
func (l *load) loop(ask func() error, end func()) {
	defer end()
	for last := false; !last; {
		last = l.stopped.Load()
		if err := ask(); err != nil {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// count adds an outcome to the tally and, if it is a loss, to the ledger.
func (l *load) count(err error, took time.Duration) {
	var lost *lostError
	if errors.As(err, &lost) {
		l.losses.add(lost.kind, lost.pid)
		if lost.kind.excepted() {
			l.counter.except(err)
			return
		}
	}
	l.counter.count(err, took)
}

// stop ends the load when every client has its answer.
func (l *load) stop() {
	l.stopped.Store(true)
	close(l.over)
	if l.python != nil {
		l.python()
	}
	l.clients.Wait()
	l.beside.Wait()
}

// A client asks one thing after the other. It is not safe for concurrent use.
type client struct {
	load     *load
	scenario scenario
	dial     string
	random   *rand.Rand
	kept     *keptConn // HTTP
}

// pause returns a random part of the scenario's pause.
func (c *client) pause() time.Duration {
	return time.Duration(c.random.Float64() * float64(c.scenario.Pause))
}

func dial(network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: patience, KeepAlive: -1}
	dialer.SetMultipathTCP(false)
	conn, err := dialer.Dial(network, address)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(patience))
	}
	return conn, err
}

// tcp asks on a connection of its own.
func (c *client) tcp() error {
	began := time.Now()
	wait := c.pause()
	err := askTCP(c.dial, wait)
	c.load.counter.count(err, time.Since(began)-wait)
	return err
}

func askTCP(address string, wait time.Duration) error {
	conn, err := dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	time.Sleep(wait)
	if _, err := io.WriteString(conn, question); err != nil {
		return err
	}
	var buf [len(answer)]byte
	if _, err := io.ReadFull(conn, buf[:]); err != nil {
		return err
	}
	if string(buf[:]) != answer {
		return errors.New("another answer: " + string(buf[:]))
	}
	conn.Read(buf[:]) // the server closes first
	return nil
}

// burst is how many datagrams a client has in flight, and late when an answer
// passes for lost: slow machines pause for longer than a second.
const (
	burst = 8
	late  = 5 * time.Second
)

// udp sends a burst and counts the answers.
func (c *client) udp() error {
	began := time.Now()
	conn, err := dial("udp", c.dial)
	if err != nil {
		return err
	}
	defer conn.Close()
	sent := 0
	for range burst {
		if _, err := io.WriteString(conn, question); err != nil {
			c.load.counter.count(err, 0)
			continue
		}
		sent++
	}
	conn.SetReadDeadline(began.Add(late))
	var buf [64]byte
	for range sent {
		_, err = conn.Read(buf[:])
		c.load.counter.count(err, time.Since(began))
	}
	return err
}

// close closes what c keeps.
func (c *client) close() {
	if c.kept != nil {
		c.kept.conn.Close()
	}
}
