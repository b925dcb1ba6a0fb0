package argv

import "strings"

// A runner is a program that runs others' programs.
type runner struct {
	short  bool     // options of one letter may stand together, and their value with them
	code   string   // options whose value is the program itself, which is not shown
	module string   // options whose value is the name of the program
	file   string   // options whose value is a file that is the program
	values string   // options of one letter that take a value
	long   []string // other options that take a value
	class  bool     // the program is a class, of which the last name tells
	object bool     // the program is an object of a module: "app:web"
}

var (
	shell = runner{short: true, code: "c", values: "oO", long: []string{"--rcfile", "--init-file"}}

	// runners are those that are known, without the digits at the end of their names.
	runners = map[string]runner{
		"sh": shell, "bash": shell, "dash": shell, "zsh": shell, "ksh": shell, "mksh": shell, "ash": shell, "fish": shell,
		"python": {short: true, code: "c", module: "m", values: "WXQ", long: []string{"--check-hash-based-pycs"}},
		"pypy":   {short: true, code: "c", module: "m", values: "WX"},
		"node": {code: "ep", values: "rC", long: []string{"--require", "--import", "--loader", "--experimental-loader",
			"--conditions", "--env-file", "--env-file-if-exists", "--title", "--icu-data-dir", "--watch-path"}},
		"nodejs": {code: "ep", values: "rC", long: []string{"--require", "--import", "--loader"}},
		"ruby":   {short: true, code: "e", values: "rICEFKx"},
		"perl":   {short: true, code: "eE", values: "I"},
		"php":    {code: "rBRE", file: "f", values: "cdtSz"},
		"java": {file: "-jar", long: []string{"-cp", "-classpath", "--class-path", "-p", "--module-path", "--upgrade-module-path",
			"--add-modules", "--add-exports", "--add-opens", "--add-reads", "--limit-modules", "--source", "-splash"}, class: true},
		"gunicorn": {object: true}, "uvicorn": {object: true}, "hypercorn": {object: true}, "daphne": {object: true},
	}
)

// runs returns what args say that r runs: a script's name, "-m http.server" or "-jar
// app.jar". Rest are the arguments from the script on, if it is one.
func (r runner) runs(args []string) (what string, rest []string) {
	if r.object {
		for _, arg := range args {
			if isObject(arg) {
				return arg, nil
			}
		}
		if len(args) > 0 && telling(args[0]) {
			return args[0], nil
		}
		return "", nil
	}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		next := func() string {
			if len(args) == 0 {
				return ""
			}
			return args[0]
		}
		switch {
		case arg == "--":
			if len(args) == 0 {
				return "", nil
			}
			return base(args[0]), args
		case arg == "" || arg == "-":
			return "", nil
		case r.class && (arg == "-m" || arg == "--module"):
			return className(next()), nil
		case arg[0] != '-' && arg[0] != '+':
			if r.class {
				return className(arg), nil
			}
			return base(arg), append([]string{arg}, args...)
		case arg == r.file:
			return strings.TrimSpace(arg + " " + base(next())), nil
		case strings.HasPrefix(arg, "--"):
			switch name, _, hasValue := strings.Cut(arg, "="); {
			case name == "--eval" || name == "--print":
				return "-e", nil
			case !hasValue && has(r.long, name):
				args = args[min(1, len(args)):]
			}
		case has(r.long, arg):
			args = args[min(1, len(args)):]
		default:
			if what, done, skip := r.letters(arg[1:], next()); done {
				return what, nil
			} else if skip {
				args = args[min(1, len(args)):]
			}
		}
	}
	return "", nil
}

// letters reads an option of one letter or, if r has it that way, several. It is done if
// that tells what runs; and skips the next argument if that is a value.
func (r runner) letters(option, next string) (what string, done, skip bool) {
	for i := range len(option) {
		letter, value := option[i:i+1], option[i+1:]
		switch {
		case !r.short && value != "":
			return "", false, false
		case strings.Contains(r.code, letter):
			return "-" + letter, true, false
		case strings.Contains(r.module, letter) && r.module != "":
			if value == "" {
				value = next
			}
			return strings.TrimSpace("-" + letter + " " + base(value)), true, false
		case letter == r.file:
			return base(next), true, false
		case strings.Contains(r.values, letter):
			return "", false, value == ""
		}
	}
	return "", false, false
}

func has(all []string, s string) bool {
	for _, one := range all {
		if one == s {
			return true
		}
	}
	return false
}

// className returns the last part of a class's name, which may follow its module's.
func className(class string) string {
	class = class[strings.LastIndexByte(class, '/')+1:]
	return class[strings.LastIndexByte(class, '.')+1:]
}

// isObject reports whether arg names an object of a module of Python.
func isObject(arg string) bool {
	module, object, found := strings.Cut(arg, ":")
	return found && isIdentifier(strings.ReplaceAll(module, ".", "_")) && isIdentifier(strings.TrimSuffix(object, "()"))
}

func isIdentifier(s string) bool {
	for i, r := range s {
		if r != '_' && !('a' <= r && r <= 'z') && !('A' <= r && r <= 'Z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// IsScript reports whether args are those of a shell that runs a script, or commands
// that it was given, and is neither interactive nor a login shell.
func IsScript(args []string) bool {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") || !isShell(plain(base(args[0]))) {
		return false
	}
	for _, arg := range args[1:] {
		if !strings.HasPrefix(arg, "-") && !strings.HasPrefix(arg, "+") {
			break
		}
		long := strings.HasPrefix(arg, "--")
		if arg == "--login" || arg == "--interactive" || !long && strings.ContainsAny(arg, "il") {
			return false
		}
	}
	what, _ := shell.runs(args[1:])
	return what != ""
}

func isShell(program string) bool {
	switch program {
	case "sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "fish":
		return true
	}
	return false
}
