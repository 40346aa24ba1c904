package apitool

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/strictjson"
)

// options are the parsed options and words of a command line.
type options struct {
	program  program
	user     string
	output   string
	input    string
	help     bool
	fail     bool     // Exit with status 1 if the answer reports a failure.
	complete string   // What to list for the shell's completion: accounts, modules or functions.
	words    []string // Module, function, and arguments; for whmapi1 without the module.
}

// parseOptions parses a command line. Options may stand before or after the other words. If a word begins
// with - but is not a known option, parseOptions returns an error.
func parseOptions(p program, args []string) (options, error) {
	o := options{program: p}
	flags := pflag.NewFlagSet(p.name, pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.user, "user", "", "")
	flags.StringVar(&o.output, "output", p.output, "")
	flags.StringVar(&o.input, "input", "key-value", "")
	flags.BoolVarP(&o.help, "help", "h", false, "")
	flags.BoolVar(&o.fail, "fail", false, "")
	flags.StringVar(&o.complete, "complete", "", "")
	if err := flags.Parse(args); err != nil {
		// The error does not quote the word: the word may be part of a password that contains a space.
		return o, errors.New("invalid option: an argument that begins with - is not a known option, or its value is missing; quote values that contain spaces")
	}
	o.words = flags.Args()
	switch {
	case o.output == "json", o.output == "jsonpretty", o.output == "yaml", o.output == "xml" && !p.whm, o.output == textOutput && p.output == textOutput:
	default:
		return o, fmt.Errorf("--output: %q is not one of json, jsonpretty, yaml and xml", o.output)
	}
	if o.input != "json" && o.input != "key-value" {
		return o, fmt.Errorf("--input: the format %q is not supported; the formats are json and key-value", o.input)
	}
	if p.whm && o.user != "" {
		return o, errors.New("--user: functions of WHM name the account in their arguments")
	}
	return o, nil
}

// call returns the call that the command line describes. If an argument has the form name=-, its value is the
// next line of stdin; if it has the form name=@FILE, its value is the text of the file. With --input=json,
// stdin contains a JSON object of arguments, and the command line may contain further arguments. Passwords
// should be passed on stdin or in a file, because every user of the machine can read the command lines of
// processes.
func (o options) call(stdin io.Reader) (protocol.Call, error) {
	call := protocol.Call{API: o.program.api}
	words := o.words
	if !o.program.whm {
		if len(words) < 2 {
			return call, errors.New("the module or the function is missing; name both")
		}
		call.Module, words = words[0], words[1:]
	}
	if len(words) == 0 {
		return call, errors.New("the function is missing")
	}
	call.Func, words = words[0], words[1:]
	v := values{stdin: bufio.NewReader(stdin), json: o.input == "json"}
	if o.program.api == protocol.API1 {
		if v.json {
			return call, errors.New("--input=json: functions of API 1 have no names for their arguments")
		}
		for i, raw := range words {
			value, err := v.value(fmt.Sprintf("argument %d", i+1), raw)
			if err != nil {
				return call, err
			}
			call.Args.Positional = append(call.Args.Positional, value)
		}
		return call, nil
	}
	args := make(map[string]any)
	if v.json {
		named, err := readJSON(stdin)
		if err != nil {
			return call, fmt.Errorf("standard input: %w", err)
		}
		args = named
	}
	for _, word := range words {
		name, raw, ok := strings.Cut(word, "=")
		if name = decode(name); !ok || name == "" {
			// The error does not quote the word: the word may be part of a password that contains a space.
			return call, errors.New("an argument does not have the form name=value; quote values that contain spaces")
		}
		value, err := v.value(name, raw)
		if err != nil {
			return call, err
		}
		if err := add(args, name, value); err != nil {
			return call, err
		}
	}
	call.Args = protocol.Args{Named: args}
	return call, nil
}

// values reads the values of arguments.
type values struct {
	stdin *bufio.Reader
	json  bool // stdin contains JSON, so it has no lines with values.
}

// value returns the value of the argument called name. raw is what the command line contains: a URI-encoded
// value; - for the next line of stdin; or @FILE for the text of a file. \@ at the beginning stands for @.
func (v values) value(name, raw string) (string, error) {
	switch {
	case raw == "-" && v.json:
		return "", fmt.Errorf("%s=- can't be combined with --input=json, because both read standard input", name)
	case raw == "-":
		line, err := readLine(v.stdin)
		if err != nil {
			err = fmt.Errorf("%s=-: %w", name, err)
		}
		return line, err
	case strings.HasPrefix(raw, "@"):
		text, err := readFile(raw[1:])
		if err != nil {
			err = fmt.Errorf("%s: a value that begins with @ names a file: %w; write %%40 for a value that begins with @ itself", name, err)
		}
		return text, err
	case strings.HasPrefix(raw, `\@`):
		raw = raw[1:]
	}
	return decode(raw), nil
}

// readFile returns the text of a file, as it is.
func readFile(path string) (string, error) {
	if path == "" {
		return "", errors.New("the name is empty")
	}
	f, err := os.Open(path)
	if err != nil {
		// The error does not quote the path: it may be a password that begins with @.
		return "", errors.New("the file can't be opened")
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, protocol.MaxFrame+1))
	if err != nil {
		return "", errors.New("the file can't be read")
	}
	if len(text) > protocol.MaxFrame {
		return "", fmt.Errorf("the file has more than %d bytes", protocol.MaxFrame)
	}
	return string(text), nil
}

// add adds an argument to args. If args already contains a value for name, the values become a list. If the
// existing value comes from the JSON input and is a number, boolean or object, add returns an error.
func add(args map[string]any, name, value string) error {
	switch had := args[name].(type) {
	case nil:
		args[name] = value
	case string:
		args[name] = []any{had, value}
	case []any:
		args[name] = append(had, value)
	default:
		return fmt.Errorf("%s: the argument is also in the JSON, with a value that is neither a string nor a list", name)
	}
	return nil
}

func readJSON(r io.Reader) (map[string]any, error) {
	raw, err := io.ReadAll(io.LimitReader(r, protocol.MaxFrame+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > protocol.MaxFrame {
		return nil, fmt.Errorf("the JSON has more than %d bytes", protocol.MaxFrame)
	}
	value, err := strictjson.Decode(raw)
	if err != nil {
		return nil, err
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("the JSON must be an object of argument names and values")
	}
	return object, nil
}

// readLine reads a line and returns the line without its line ending. The last line may lack a line ending.
func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		c, err := r.ReadByte()
		if errors.Is(err, io.EOF) && len(line) > 0 || err == nil && c == '\n' {
			break
		}
		if errors.Is(err, io.EOF) {
			return "", errors.New("standard input ended before the line with this argument's value")
		}
		if err != nil {
			return "", err
		}
		if len(line) == protocol.MaxFrame {
			return "", fmt.Errorf("the line is longer than %d bytes", protocol.MaxFrame)
		}
		line = append(line, c)
	}
	return strings.TrimSuffix(string(line), "\r"), nil
}

// decode decodes the name or value of an argument: '+' becomes a space and %XX a byte; a '%' without two
// hexadecimal digits after it stays as it is. Measurements of cPanel's commands show these rules.
func decode(s string) string {
	if !strings.ContainsAny(s, "+%") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			out = append(out, ' ')
		case s[i] == '%' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0:
			out = append(out, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
			i += 2
		default:
			out = append(out, s[i])
		}
	}
	return string(out)
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
