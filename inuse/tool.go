//go:build unix || windows

package inuse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"strings"
	"time"
)

// A tool is a program of the system that tells of its sockets or processes. It is
// named by absolute paths only, since who asks is often root, and PATH is anybody's.
type tool struct {
	paths []string // the first that exists is taken
	args  []string
}

const (
	// mostOutput is how much of what a tool prints is read: some 300,000 sockets.
	mostOutput = 64 << 20

	// toolDelay is how long its output may take to end when a tool has: a child of it can
	// have that open. None of the tools has children here, so this is for the worst case.
	toolDelay = time.Second
)

// errTooMuch is the end of a tool that prints more than mostOutput.
var errTooMuch = errors.New("prints too much")

// run returns what the tool prints. The error wraps errors.ErrUnsupported if the system
// does not have it. The tool ends when ctx does.
func (t tool) run(ctx context.Context) ([]byte, error) {
	for _, name := range t.paths {
		if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
			continue
		}
		return t.start(ctx, name)
	}
	return nil, fmt.Errorf("there is no %s: %w", path.Base(t.paths[0]), errors.ErrUnsupported)
}

func (t tool) start(ctx context.Context, name string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, t.args...)
	cmd.Dir = "/" // not one that may be on a network
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/bin:/bin:/usr/sbin:/sbin"}
	if root := os.Getenv("SystemRoot"); root != "" { // programs of Windows need it
		cmd.Env = append(cmd.Env, "SystemRoot="+root)
	}
	cmd.WaitDelay = toolDelay
	out, complaints := &bounded{most: mostOutput}, &bounded{most: 1 << 16}
	cmd.Stdout, cmd.Stderr = out, complaints
	err := cmd.Run()
	switch exit, ended := errors.AsType[*exec.ExitError](err); {
	case out.full:
		return nil, fmt.Errorf("%s: %w", path.Base(name), errTooMuch)
	case err == nil:
		return out.text, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", path.Base(name), ctx.Err())
	case ended && exit.ExitCode() == 1 && (len(out.text) > 0 || len(complaints.text) == 0):
		// Lsof's for "nothing found", and for "not all could be read".
		return out.text, nil
	case len(complaints.text) > 0:
		line, _, _ := strings.Cut(string(complaints.text), "\n")
		return nil, fmt.Errorf("%s: %w: %s", path.Base(name), err, line)
	}
	return nil, fmt.Errorf("%s: %w", path.Base(name), err)
}

// A bounded buffer refuses to become too long, which ends the program that writes to it.
// It has no ReadFrom, which would not be asked.
type bounded struct {
	text []byte
	most int
	full bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.text)+len(p) > b.most {
		b.full = true
		return 0, errTooMuch
	}
	b.text = append(b.text, p...)
	return len(p), nil
}
