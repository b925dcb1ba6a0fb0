package main

import (
	"io"
	"os"
	"syscall"
	"unsafe"
)

// openConsole opens the serial line that run reads.
func openConsole() (*os.File, error) {
	const name = "/dev/console"
	console, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil { // devtmpfs is not there yet
		os.Mkdir("/dev", 0o755)
		syscall.Mount("devtmpfs", "/dev", "devtmpfs", 0, "")
		console, err = os.OpenFile(name, os.O_RDWR, 0)
	}
	if err == nil {
		raw(console)
	}
	return console, err
}

// raw stops the terminal from changing what is written to it.
func raw(tty *os.File) {
	var t syscall.Termios
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, tty.Fd(), syscall.TCGETS, uintptr(unsafe.Pointer(&t))); errno != 0 {
		return
	}
	t.Oflag &^= syscall.OPOST
	t.Lflag &^= syscall.ECHO | syscall.ICANON | syscall.ISIG
	syscall.Syscall(syscall.SYS_IOCTL, tty.Fd(), syscall.TCSETS, uintptr(unsafe.Pointer(&t)))
}

// drain waits until the terminal has sent all that was written to it.
func drain(tty *os.File) {
	const tcsbrk = 0x5409
	syscall.Syscall(syscall.SYS_IOCTL, tty.Fd(), tcsbrk, 1)
}

// An output passes writes on, and knows whether the last line is complete.
type output struct {
	w       io.Writer
	partial bool
}

func (o *output) Write(p []byte) (int, error) {
	if len(p) > 0 {
		o.partial = p[len(p)-1] != '\n'
	}
	return o.w.Write(p)
}
