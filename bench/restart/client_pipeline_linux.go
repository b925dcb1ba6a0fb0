package main

import (
	"io"
	"time"
)

// A pipeline is a client that sends the next requests before it has the answers to
// those before: its connection is never idle.
type pipeline struct {
	kept
	under int // requests under way
}

// ahead is how many requests are under way at once.
const ahead = 3

func (p *pipeline) ask() error {
	time.Sleep(p.pause())
	began := time.Now()
	keep, err := p.next()
	p.load.count(err, time.Since(began))
	if err != nil || !keep {
		// What is behind an answer that said close, or was lost, has to be
		// repeated.
		for range p.under - 1 {
			p.load.losses.add(lostPipelined, p.pid)
		}
		p.close()
		p.under = 0
		return err
	}
	p.under--
	return nil
}

// next sends what may be sent, and reads an answer.
func (p *pipeline) next() (keep bool, err error) {
	if p.conn == nil {
		if err := p.connect(); err != nil {
			return false, p.lost(lostConnect, err)
		}
	}
	kind := lostRequest
	if p.pid == 0 {
		kind = lostFirst
	}
	p.conn.SetDeadline(time.Now().Add(answerTime))
	for ; p.under < ahead; p.under++ {
		// What fails here may have been told by an answer that is to be read.
		if _, err := io.WriteString(p.conn, p.request()); err != nil {
			p.under++
			break
		}
	}
	return p.receive(kind)
}
