// Package argv names processes by their arguments, so that people know them again.
package argv

import (
	"path"
	"strings"
	"unicode/utf8"
)

// most is how long a name may be, in bytes.
const most = 32

// Name returns what to call a process, such as "python3 app.py", and the name of its
// program, "python3". Comm is what the kernel calls it, or "" if that is not known; it
// stands for both if args are empty.
//
// Of an interpreter the name has the script, module or class that it runs, never code.
// Of any other program it has the first argument if that looks like a command, a number
// or a file: "sleep 1000", "gunicorn app:web". It has no argument besides, nor the value
// of an option, since these may be passwords.
func Name(args []string, comm string) (name, program string) {
	if len(args) == 0 || args[0] == "" {
		return cut(comm), comm
	}
	args, isTitle := untitled(args, comm)
	program = base(strings.TrimPrefix(args[0], "-")) // of a login shell
	args = args[1:]
	if program == "init" && comm == "systemd" { // by its link /sbin/init
		return comm, comm
	}
	if isTitle && len(args) == 0 {
		return cut(program), program
	}
	r, isInterpreter := runners[plain(program)]
	if !isInterpreter {
		if len(args) > 0 && telling(args[0]) {
			return cut(program + " " + base(args[0])), program
		}
		return cut(program), program
	}
	what, rest := r.runs(args)
	// A script that names its interpreter in its first line is a program of its own,
	// unless it is called a script: "gunicorn", not "app.py".
	if len(rest) > 0 && what == base(rest[0]) && what == comm && !strings.Contains(what, ".") {
		return Name(append([]string{what}, rest[1:]...), comm)
	}
	return cut(strings.TrimSuffix(program+" "+what, " ")), program
}

// untitled returns args of a program that has written a title over them, without what
// it says there: "nginx: master process /usr/sbin/nginx". Of an interpreter's title,
// "node /srv/server.js", they are the words.
func untitled(args []string, comm string) (_ []string, isTitle bool) {
	title := args[0]
	for _, arg := range args[1:] {
		if arg != "" {
			return args, false
		}
	}
	first, rest, found := strings.Cut(title, " ")
	if !found {
		return []string{strings.TrimSuffix(title, ":")}, false
	}
	// The path of a program may have blanks.
	const kept = 15 // by the kernel, of a name
	if file := base(title); !strings.HasSuffix(first, ":") && comm != "" && (file == comm || len(comm) == kept && strings.HasPrefix(file, comm)) {
		return []string{title}, false
	}
	if strings.HasSuffix(first, ":") {
		return []string{strings.TrimSuffix(first, ":")}, true
	}
	if _, ok := runners[plain(base(first))]; ok {
		return append([]string{first}, strings.Fields(rest)...), true
	}
	return []string{first}, true
}

// plain returns the name of a program without its version: python for python3.12.
func plain(program string) string { return strings.TrimRight(program, "0123456789.-") }

func base(file string) string {
	if file == "" {
		return ""
	}
	return path.Base(file)
}

// cut returns s, or as much of it as a name may have.
func cut(s string) string {
	if len(s) <= most {
		return s
	}
	n := most
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.TrimRight(s[:n], " ")
}

// telling reports whether an argument tells what a program does and is no secret: a
// word of small letters, a number, an address, or the name of a file. What mixes
// letters and digits otherwise may be a password or a token, and what has a colon, an
// at sign or an equals sign may contain one.
func telling(arg string) bool {
	file := base(arg)
	if file == "" || file == "/" || len(file) > most || strings.Contains(arg, "://") || strings.Contains(arg, "=") {
		return false
	}
	const longest = 12 // of a word
	var lower, upper, digits, dots, colons int
	for i, r := range file {
		switch {
		case 'a' <= r && r <= 'z':
			lower++
		case 'A' <= r && r <= 'Z':
			upper++
		case '0' <= r && r <= '9':
			digits++
		case strings.ContainsRune("_-", r) && i > 0:
		case r == '.' && i > 0 && i < len(file)-1:
			dots++
		case r == ':' && i > 0 && i < len(file)-1:
			colons++
		default:
			return false
		}
	}
	switch letters := lower + upper; {
	case letters == 0:
		return colons <= 1 && digits <= longest
	case colons > 0:
		return false
	case strings.Contains(arg, "/"):
		return true
	case digits > 0:
		return dots == 1 && upper == 0
	case dots > 0:
		return dots <= 2
	}
	return upper == 0 && lower <= longest
}
